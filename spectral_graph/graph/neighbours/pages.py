"""Memory-mapped files that do not count against the memory of the process for longer than they are used."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.lib.format import open_memmap

from spectral_graph.io.files import allocate, reporting_full_disk, require_space

CHECKED_BYTES = 1 << 24
"""Bytes that go into a checksum at a time."""


class Scratch:
    """Named arrays of a search: in memory where they are few, else memory-mapped files of a folder.

    Args:
        folder: for the files.
        on_disk: whether they are files, which outlive the process.
    """

    def __init__(self, folder: Path, on_disk: bool) -> None:
        self.folder, self.on_disk = folder, on_disk
        self._arrays: dict[str, np.ndarray] = {}

    def new(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Create an array; on disk it is zero, in memory it holds anything."""
        self._arrays[name] = (
            new_array(self.folder / f"{name}.npy", shape, dtype) if self.on_disk else np.empty(shape, dtype)
        )
        return self._arrays[name]

    def get(self, name: str) -> np.ndarray:
        """Return an array that was created, by this process or an earlier one."""
        if name not in self._arrays:
            self._arrays[name] = open_array(self.folder / f"{name}.npy")
        return self._arrays[name]

    def remove(self, name: str) -> None:
        """Forget an array, and delete its file."""
        del self._arrays[name]
        (self.folder / f"{name}.npy").unlink(missing_ok=True)

    def drop(self) -> None:
        """Give the mapped pages back."""
        drop_pages(*self._arrays.values())

    def checksum(self, names: Iterable[str], crc: int = 0) -> int:
        """Return the CRC-32C of the bytes of some arrays, one behind the other, after that of what comes before.

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


def new_array(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros, memory-mapped for writing; what was there is replaced."""
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


def drop_pages(*arrays: np.ndarray) -> None:
    """Give the mapped pages of the arrays back; what was written stays in the file, what is read again is mapped again.

    Maps in copy-on-write mode are left alone, for there the pages hold the only copy.
    """
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and getattr(array, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def checksum(array: np.ndarray, crc: int = 0) -> int:
    """Return the CRC-32C of the bytes of a contiguous array; `crc` is that of what comes before it."""
    flat = array.reshape(-1).view(np.uint8)
    for begin in range(0, len(flat), CHECKED_BYTES):
        crc = google_crc32c.extend(crc, flat[begin : begin + CHECKED_BYTES])
        drop_pages(array)
    return crc
