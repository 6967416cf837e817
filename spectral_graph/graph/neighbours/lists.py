"""The result of a search: for every node its best neighbours, on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from spectral_graph.errors import FormatError
from spectral_graph.graph.neighbours.pages import checksum, drop_pages, new_array, open_array
from spectral_graph.io.files import read_json, reporting_full_disk, write_json

FACTS = "facts.json"
LISTS = "lists.npy"
"""(2, N, count) int32: the columns, and the bits of the values."""


@dataclass(frozen=True)
class NeighbourLists:
    """Neighbours of every node, best first; free places stand at the end of a row.

    Attributes:
        columns: (N, count) int32, memory-mapped; nodes, -1 on free places.
        values: (N, count) float32, memory-mapped; cosines, descending, equal ones by ascending column; 0 if free.
        facts: what the search found about itself, as JSON holds it.
    """

    columns: np.ndarray
    values: np.ndarray
    facts: dict[str, Any]

    def flush(self) -> None:
        """Force what was written to the disk."""
        with reporting_full_disk(Path(str(self.columns.filename))):  # type: ignore[attr-defined]
            self.columns.flush()  # type: ignore[attr-defined]

    def drop(self) -> None:
        """Give the mapped pages back."""
        drop_pages(self.columns)

    def checksum(self) -> int:
        """Return the CRC-32C of columns and values, in that order."""
        return checksum(self.values, checksum(self.columns))

    def csr(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows `begin` to `end` in compressed rows.

        Returns:
            indptr (end - begin + 1,) int64, indices int32 ascending in each row, values float32.
        """
        # A number is a column above the bits of its value: to sort numbers is three times as fast as to sort places.
        pairs = self.columns[begin:end].astype(np.int64)
        pairs <<= 32
        pairs |= self.values[begin:end].view(np.uint32)
        self.drop()
        pairs.sort(axis=1)
        there = pairs >= 0
        indptr = np.zeros(end - begin + 1, np.int64)
        np.cumsum(there.sum(axis=1), out=indptr[1:])
        kept = pairs[there]
        return indptr, (kept >> 32).astype(np.int32), kept.astype(np.uint32).view(np.float32)


def new_lists(folder: Path, nodes: int, count: int) -> NeighbourLists:
    """Create empty lists in `folder`; they count as complete once `publish` has written their facts."""
    (folder / FACTS).unlink(missing_ok=True)
    both = new_array(folder / LISTS, (2, nodes, count), np.int32)
    for begin in range(0, nodes, 1 << 20):
        both[0, begin : begin + (1 << 20)] = -1
        drop_pages(both)
    return NeighbourLists(both[0], both[1].view(np.float32), {})


def is_complete(folder: Path) -> bool:
    """Tell whether a search has come to its end in `folder`, and its lists are what it wrote."""
    try:
        known = read_json(folder / FACTS)
        return bool(known["crc32c"] == _checksum(folder, known["facts"]))
    except (OSError, KeyError, TypeError, ValueError, FormatError):
        return False


def open_lists(folder: Path) -> NeighbourLists:
    """Open lists, complete or not."""
    facts = read_json(folder / FACTS)["facts"] if (folder / FACTS).exists() else {}
    both = open_array(folder / LISTS)
    return NeighbourLists(both[0], both[1].view(np.float32), facts)


def publish(folder: Path, lists: NeighbourLists, facts: dict[str, Any]) -> NeighbourLists:
    """Write the facts last: from now on the lists are complete.

    They are not forced to the disk: a checksum tells whether the machine went down before they were there.
    """
    write_json(folder / FACTS, {"crc32c": _checksum(folder, facts), "facts": facts})
    return NeighbourLists(lists.columns, lists.values, facts)


def _checksum(folder: Path, facts: dict[str, Any]) -> int:
    crc: int = google_crc32c.extend(checksum(open_array(folder / LISTS)), json.dumps(facts).encode())
    return crc
