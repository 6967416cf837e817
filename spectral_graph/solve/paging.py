"""Memory-mapped rows that memory does not hold: read ahead of the work, written and let go behind it.

Left to itself the system finds dirty pages when it runs out of room, and then writes whatever is dirty, rows that are
about to change again among them. Here the rows that are finished are written, once, and only they. What is computed
does not depend on it. Linux only; elsewhere, and where memory is large enough, nothing is done.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType

import numpy as np

from spectral_graph.memory import limit_bytes

SHARE = 0.5
"""Of the memory that there is: arrays beyond it are written and let go behind the work."""
LAG_BYTES = 64 << 20
"""So much is kept after it was finished: rows next to it are still in use."""
_START, _AND_WAIT = 2, 1 | 2 | 4  # SYNC_FILE_RANGE_WRITE, and with WAIT_BEFORE and WAIT_AFTER, of sync_file_range(2)


@cache
def _system() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "sync_file_range") and hasattr(mmap, "MADV_DONTNEED") else None


class _MappedRows:
    """The rows of an array over a memory map that begins with its file."""

    def __init__(self, array: np.memmap, library: ctypes.CDLL) -> None:
        whole: np.ndarray = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        self._base, self._first = whole.ctypes.data, array.ctypes.data - whole.ctypes.data
        self._row, self._library = array.strides[0], library
        self._fd = os.open(str(array.filename), os.O_RDONLY)

    def close(self) -> None:
        os.close(self._fd)

    def read_ahead(self, start: int, stop: int) -> None:
        begin, end = (self._first + row * self._row for row in (start, stop))
        os.posix_fadvise(self._fd, begin, end - begin, os.POSIX_FADV_WILLNEED)

    def write(self, start: int, stop: int, flags: int) -> None:
        begin, end = (self._first + row * self._row for row in (start, stop))
        size = ctypes.c_int64(end - begin)
        self._library.sync_file_range(ctypes.c_int(self._fd), ctypes.c_int64(begin), size, ctypes.c_uint(flags))

    def let_go(self, start: int, stop: int) -> None:
        begin, end = (self._first + row * self._row for row in (start, stop))
        page = mmap.PAGESIZE
        inner, past = -(-begin // page) * page, end // page * page
        if past > inner:
            place, size = ctypes.c_void_p(self._base + inner), ctypes.c_size_t(past - inner)
            self._library.madvise(place, size, ctypes.c_int(mmap.MADV_DONTNEED))
            os.posix_fadvise(self._fd, inner, past - inner, os.POSIX_FADV_DONTNEED)


class Pager:
    """Guides the system through one or more passes over the rows of some arrays.

    Args:
        arrays: of the same number of rows; those that are not memory-mapped are left alone.
    """

    def __init__(self, *arrays: np.ndarray) -> None:
        mapped = [array for array in arrays if isinstance(array, np.memmap) and Path(array.filename or "").is_file()]
        library = _system()
        large = sum(array.nbytes for array in mapped) > SHARE * limit_bytes()
        self._rows = [_MappedRows(array, library) for array in mapped] if library is not None and large else []
        self._row_bytes = sum(array.strides[0] for array in mapped)
        self._ahead = 0
        self._finished: deque[tuple[int, int]] = deque()
        self._finished_bytes = 0
        self._pending: deque[Future[None]] = deque()
        self._worker = ThreadPoolExecutor(1)

    def __enter__(self) -> Pager:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._let_go(0)
        self._worker.shutdown()
        for rows in self._rows:
            rows.close()

    def begin(self) -> None:
        """Start a pass at the first row."""
        self._let_go(0)
        self._ahead = 0

    def ahead(self, stop: int) -> None:
        """Have the rows before `stop` read that were not asked for in this pass; returns at once."""
        if stop > self._ahead:
            for rows in self._rows:
                rows.read_ahead(self._ahead, stop)
            self._ahead = stop

    def finished(self, start: int, stop: int) -> None:
        """Have rows written that this pass does not change any more, and let those go that were finished earlier.

        Waits where the disk cannot follow.
        """
        if not self._rows:
            return
        for rows in self._rows:
            rows.write(start, stop, _START)
        self._finished.append((start, stop))
        self._finished_bytes += (stop - start) * self._row_bytes
        self._let_go(LAG_BYTES)
        while len(self._pending) > 2:
            self._pending.popleft().result()

    def _let_go(self, but: int) -> None:
        while self._finished and self._finished_bytes > but:
            start, stop = self._finished.popleft()
            self._finished_bytes -= (stop - start) * self._row_bytes
            self._pending.append(self._worker.submit(self._write_and_let_go, start, stop))

    def _write_and_let_go(self, start: int, stop: int) -> None:
        for rows in self._rows:
            rows.write(start, stop, _AND_WAIT)
            rows.let_go(start, stop)
