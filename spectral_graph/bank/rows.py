"""A raw file of rows, read and written by images.

Reads and writes go through `pread` and `pwrite`, not through a memory map: a full disk or a truncated file gives an
error instead of a signal, and the pages stay in the system's cache instead of the process.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.errors import ConfigError, FormatError
from spectral_graph.io.files import reporting_full_disk

SUFFIXES = {"float32": "f32", "bfloat16": "bf16"}
READ_BYTES = 1 << 24
_START_WRITING = 2  # SYNC_FILE_RANGE_WRITE of sync_file_range(2)


def storage_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of `name`; bfloat16 comes from the package ml_dtypes."""
    if name not in SUFFIXES:
        raise ConfigError(f"bank dtype {name}: choose one of {', '.join(SUFFIXES)}")
    if name == "float32":
        return np.dtype(np.float32)
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def recompute(folder: Path) -> str:
    """Return the cure for a damaged bank: `ortho` needs no solver, unless it has hard links to the files of `bank`."""
    own = folder.name == "ortho" and all(file.stat().st_nlink == 1 for file in folder.glob("X.*"))
    return f"recompute with `force={'orthogonalise' if own else 'solve'}`"


class RowFile:
    """The rows of all images of one array, (images * nodes, channels), row-major, little-endian.

    Args:
        path: an existing file.
        image_shape: (nodes, channels) of one image.
        dtype: stored dtype.
        writable: open it for writing too.
    """

    def __init__(self, path: Path, image_shape: tuple[int, int], dtype: np.dtype[Any], writable: bool = False) -> None:
        self.path, self._shape, self._dtype = path, image_shape, dtype
        self._image_bytes = image_shape[0] * image_shape[1] * dtype.itemsize
        self._fd = os.open(path, os.O_RDWR if writable else os.O_RDONLY)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close

    def read(self, images: np.ndarray) -> np.ndarray:
        """Return the rows of `images` in their order, (len(images) * nodes, channels), stored dtype.

        Raises:
            FormatError: the file ends before them.
        """
        nodes, channels = self._shape
        out = np.empty((len(images) * nodes, channels), self._dtype)
        raw = out.reshape(-1).view(np.uint8).data
        for begin, end, offset in self._spans(images):
            while begin < end:
                got = os.preadv(self._fd, [raw[begin:end]], offset)
                if got == 0:
                    raise FormatError(
                        f"{self.path} is truncated: it ends at byte {offset}, inside image "
                        f"{offset // self._image_bytes}; {recompute(self.path.parent)}"
                    )
                begin, offset = begin + got, offset + got
        return out

    def write(self, images: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Write the rows of `images` and return the CRC-32 of each image, uint32.

        The system starts to write them to the disk at once, so that little is left for `sync`.

        Raises:
            DiskFullError: the disk is full.
        """
        stored = np.ascontiguousarray(values, self._dtype)
        raw = stored.reshape(-1).view(np.uint8).data
        with reporting_full_disk(self.path.parent):
            for begin, end, offset in self._spans(images):
                start, size = offset, end - begin
                while begin < end:
                    done = os.pwrite(self._fd, raw[begin:end], offset)
                    begin, offset = begin + done, offset + done
                _start_writing(self._fd, start, size)
        return self.checksums_of(stored)

    def prefetch(self, images: np.ndarray) -> None:
        """Ask the system to read the rows of `images` ahead; returns at once."""
        if hasattr(os, "posix_fadvise"):
            for begin, end, offset in self._spans(images):
                os.posix_fadvise(self._fd, offset, end - begin, os.POSIX_FADV_WILLNEED)

    def checksums(self, images: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the CRC-32 of the stored rows of each image, uint32; reads a few images at a time."""
        wanted = np.asarray(images, np.int64)
        step = max(1, READ_BYTES // max(1, self._image_bytes))
        parts = [self.checksums_of(self.read(wanted[at : at + step])) for at in range(0, len(wanted), step)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def checksums_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the CRC-32 of each image of `rows`, uint32; `rows` hold whole images in the stored dtype."""
        raw, size = rows.reshape(-1).view(np.uint8).data, self._image_bytes
        return np.array([zlib.crc32(raw[at : at + size]) for at in range(0, len(raw), size)], np.uint32)

    def sync(self) -> None:
        """Force all writes to the disk."""
        with reporting_full_disk(self.path.parent):
            os.fsync(self._fd)

    def _spans(self, images: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """Yield (begin, end, offset in the file) in bytes for each run of consecutive images."""
        starts = [0, *(1 + np.flatnonzero(np.diff(images) != 1)).tolist()] if len(images) else []
        for first, stop in pairwise([*starts, len(images)]):
            yield first * self._image_bytes, stop * self._image_bytes, int(images[first]) * self._image_bytes


@cache
def _sync_file_range() -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), "sync_file_range", None)


def _start_writing(fd: int, offset: int, size: int) -> None:
    """Start the write-back of a range, where the system can (Linux, glibc); a failure costs time only."""
    call = _sync_file_range()
    if call is not None:
        call(ctypes.c_int(fd), ctypes.c_int64(offset), ctypes.c_int64(size), ctypes.c_uint(_START_WRITING))
