"""How far a search has come, kept beside its files so that it can go on after an interruption."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from spectral_graph.errors import FormatError
from spectral_graph.io.files import read_json, write_json

INTERVAL = 2.0
"""Least seconds between two checkpoints: to force data to the disk costs more than to redo a moment's work."""


class Checkpoint:
    """A small file with the state of a search.

    Args:
        path: of the file.
        options: whatever determines the result; a state under other options is not gone on with.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path, self._options = path, options
        self._crc = 0
        self._last = time.monotonic()

    def load(self, crc: int) -> dict[str, Any] | None:
        """Return the state, or None if there is none for these options and for input with this checksum."""
        self._crc = crc
        try:
            known = read_json(self._path)
        except (FileNotFoundError, FormatError):
            return None
        if known.get("options") != self._options or known.get("crc") != crc:
            return None
        state: dict[str, Any] = known["state"]
        return state

    def due(self) -> bool:
        """Return whether it is time to save."""
        return time.monotonic() - self._last >= INTERVAL

    def save(self, state: dict[str, Any]) -> None:
        """Keep the state; what it speaks of must be on the disk."""
        write_json(self._path, {"options": self._options, "crc": self._crc, "state": state})
        self._last = time.monotonic()

    def remove(self) -> None:
        """Forget the state."""
        self._path.unlink(missing_ok=True)
