"""The result of a search on disk: the best neighbours of every node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from spectral_graph.errors import FormatError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.neighbours.scratch import checksum, new_array, open_array
from spectral_graph.io.files import read_json, reporting_full_disk, write_json
from spectral_graph.io.pages import drop_pages

FACTS = "facts.json"
LISTS = "lists.npy"
"""(2, N, count) int32: the columns, and the bits of the values."""


@dataclass(frozen=True)
class NeighbourLists:
    """Neighbours of every node, best first; free places are at the end of a row.

    Attributes:
        columns: (N, count) int32, memory-mapped; nodes, -1 on free places.
        values: (N, count) float32, memory-mapped; cosines, descending, equal ones by ascending column; 0 if free.
        facts: facts about the search, as JSON holds them.
    """

    columns: np.ndarray
    values: np.ndarray
    facts: dict[str, Any]

    def flush(self) -> None:
        """Force the arrays to the disk."""
        with reporting_full_disk(Path(str(self.columns.filename))):  # type: ignore[attr-defined]
            self.columns.flush()  # type: ignore[attr-defined]

    def drop(self) -> None:
        """Release the mapped pages."""
        drop_pages(self.columns)

    def csr(self, begin: int, end: int) -> CsrRows:
        """Return the rows `begin` to `end`."""
        # One number holds a column above the bits of its value: sorting numbers is three times as fast as argsort.
        pairs = self.columns[begin:end].astype(np.int64)
        pairs <<= 32
        pairs |= self.values[begin:end].view(np.uint32)
        self.drop()
        pairs.sort(axis=1)
        there = pairs >= 0
        indptr = np.zeros(end - begin + 1, np.int64)
        np.cumsum(there.sum(axis=1), out=indptr[1:])
        kept = pairs[there]
        return CsrRows(indptr, (kept >> 32).astype(np.int32), kept.astype(np.uint32).view(np.float32))


def new_lists(folder: Path, nodes: int, count: int) -> NeighbourLists:
    """Create empty lists in `folder`; they count as complete once `publish` has written their facts."""
    (folder / FACTS).unlink(missing_ok=True)
    both = new_array(folder / LISTS, (2, nodes, count), np.int32)
    for begin in range(0, nodes, 1 << 20):
        both[0, begin : begin + (1 << 20)] = -1
        drop_pages(both)
    return NeighbourLists(both[0], both[1].view(np.float32), {})


def is_complete(folder: Path) -> bool:
    """Return whether `folder` holds the result of a finished search, and its checksum matches."""
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
    """Write the facts last, which makes the lists complete.

    The lists are not forced to the disk: their checksum shows whether the machine went down before they were written.
    """
    write_json(folder / FACTS, {"crc32c": _checksum(folder, facts), "facts": facts})
    return NeighbourLists(lists.columns, lists.values, facts)


def _checksum(folder: Path, facts: dict[str, Any]) -> int:
    crc: int = google_crc32c.extend(checksum(open_array(folder / LISTS)), json.dumps(facts).encode())
    return crc
