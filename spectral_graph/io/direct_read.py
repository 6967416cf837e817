"""Reads that bypass the system's page cache.

For a file that is not read again soon, the cache costs more than the read itself: the system evicts pages of other
files, fills them, copies them and evicts them again, 4 KB at a time.
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

SECTOR = 4096
"""Offset, address and size of a direct request (open(2), O_DIRECT) are multiples of it, in bytes."""
_LARGE_PAGE = 2 << 20


class _Buffer(threading.local):
    memory: mmap.mmap | None = None


_BUFFER = _Buffer()


def read_direct(file: Path) -> np.ndarray:
    """Return the content of a file, (bytes,) uint8, read without the page cache where the system supports that.

    The array is only valid until the next call in the same thread.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except (AttributeError, OSError):  # not supported by the system or the file system, or no such file
        return np.fromfile(file, np.uint8)
    try:
        size = os.fstat(fd).st_size
        raw = memoryview(_buffer(size + SECTOR))
        got = 0
        while got < size:
            # A short read ends at a sector, except at the end of the file.
            count = os.preadv(fd, [raw[got : -(-size // SECTOR) * SECTOR]], got)
            if count == 0:
                break
            got += count
    finally:
        os.close(fd)
    return np.frombuffer(raw, np.uint8, got)


def _buffer(size: int) -> mmap.mmap:
    """Return memory of this thread, aligned to a sector, of at least `size` bytes."""
    if _BUFFER.memory is None or len(_BUFFER.memory) < size:
        size = -(-size // _LARGE_PAGE) * _LARGE_PAGE
        _BUFFER.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a system without large pages
                _BUFFER.memory.madvise(mmap.MADV_HUGEPAGE)
    return _BUFFER.memory
