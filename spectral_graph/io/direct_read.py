"""Reading a file past the system's cache.

A file that is not read again before others need the memory costs the system more in the cache than the reading: pages
are taken from other files, filled, copied and given up again, 4 KB at a time.
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

SECTOR = 4096
"""Places in files and memory, and sizes, of requests past the cache (open(2), O_DIRECT) are multiples of it."""
_LARGE_PAGE = 2 << 20


class _Room(threading.local):
    memory: mmap.mmap | None = None


_ROOM = _Room()


def read_direct(file: Path) -> np.ndarray:
    """Return the content of a file, (bytes,) uint8, read past the system's cache where that is possible.

    The array is only valid until the next call in the same thread.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_DIRECT)
    except (AttributeError, OSError):  # not on this system, or this file system, or there is no such file
        return np.fromfile(file, np.uint8)
    try:
        size = os.fstat(fd).st_size
        raw = memoryview(_room(size + SECTOR))
        got = 0
        while got < size:
            # A request that came back short ends at a sector, except at the end of the file.
            count = os.preadv(fd, [raw[got : -(-size // SECTOR) * SECTOR]], got)
            if count == 0:
                break
            got += count
    finally:
        os.close(fd)
    return np.frombuffer(raw, np.uint8, got)


def _room(size: int) -> mmap.mmap:
    """Return memory of this thread, at a sector boundary, of at least `size` bytes."""
    if _ROOM.memory is None or len(_ROOM.memory) < size:
        _ROOM.memory = mmap.mmap(-1, -(-size // _LARGE_PAGE) * _LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a system without large pages
                _ROOM.memory.madvise(mmap.MADV_HUGEPAGE)
    return _ROOM.memory
