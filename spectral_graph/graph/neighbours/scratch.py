"""Scratch files of a search: memory-mapped arrays, checksums of them, and a checkpoint to resume from."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.lib.format import open_memmap

from spectral_graph.errors import FormatError
from spectral_graph.io.files import allocate, read_json, reporting_full_disk, require_space, write_json
from spectral_graph.io.pages import drop_pages

CHECKED_BYTES = 1 << 24
"""Bytes that enter a checksum at a time."""
INTERVAL = 2.0
"""Least seconds between two checkpoints: forcing data to the disk costs more than repeating a moment's work."""


class Scratch:
    """Named arrays of a search: in memory, or memory-mapped files of a folder.

    Args:
        folder: for the files.
        on_disk: whether they are files, which outlive the process.
    """

    def __init__(self, folder: Path, on_disk: bool) -> None:
        self.folder, self.on_disk = folder, on_disk
        self._arrays: dict[str, np.ndarray] = {}

    def new(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Create an array; on disk it is zero, in memory its content is arbitrary."""
        self._arrays[name] = (
            new_array(self.folder / f"{name}.npy", shape, dtype) if self.on_disk else np.empty(shape, dtype)
        )
        return self._arrays[name]

    def put(self, name: str, array: np.ndarray) -> None:
        """Store a copy of an array."""
        self.new(name, array.shape, array.dtype)[:] = array

    def get(self, name: str) -> np.ndarray:
        """Return an array that this process or an earlier one created."""
        if name not in self._arrays:
            self._arrays[name] = open_array(self.folder / f"{name}.npy")
        return self._arrays[name]

    def remove(self, name: str) -> None:
        """Forget an array and delete its file."""
        del self._arrays[name]
        (self.folder / f"{name}.npy").unlink(missing_ok=True)

    def drop(self) -> None:
        """Release the mapped pages."""
        drop_pages(*self._arrays.values())

    def checksum(self, names: Iterable[str], crc: int = 0) -> int:
        """Return the CRC-32C of the concatenated bytes of some arrays; `crc` is that of the bytes before.

        Raises:
            OSError: a file is missing.
            ValueError: a file is truncated.
        """
        for name in names:
            crc = checksum(self.get(name), crc)
        return crc

    def flush(self) -> None:
        """Force the files to the disk."""
        with reporting_full_disk(self.folder):
            for array in self._arrays.values():
                if isinstance(array, np.memmap):
                    array.flush()


class Checkpoint:
    """A small JSON file with the state of a search, from which an interrupted search resumes.

    Args:
        path: of the file.
        options: everything that determines the result; a state of other options is ignored.
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
        """Store the state; the arrays that it describes must be on the disk."""
        write_json(self._path, {"options": self._options, "crc": self._crc, "state": state})
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


def new_array(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros, memory-mapped for writing; an existing file is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    require_space(path, int(np.prod(shape)) * np.dtype(dtype).itemsize, f"{path.name} of the neighbour search")
    with reporting_full_disk(path):
        array: np.memmap[Any, Any] = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        with path.open("r+b") as handle:
            handle.seek(array.offset)
            allocate(handle, array.offset + array.nbytes)
    return array


def open_array(path: Path) -> np.memmap[Any, Any]:
    """Map an array of `new_array` for reading and writing."""
    array: np.memmap[Any, Any] = open_memmap(path, mode="r+")
    return array


def checksum(array: np.ndarray, crc: int = 0) -> int:
    """Return the CRC-32C of the bytes of a contiguous array; `crc` is that of the bytes before."""
    flat = array.reshape(-1).view(np.uint8)
    for begin in range(0, len(flat), CHECKED_BYTES):
        crc = google_crc32c.extend(crc, flat[begin : begin + CHECKED_BYTES])
        drop_pages(array)
    return crc
