"""Passes over memory-mapped rows that do not fit into memory: read ahead of the work, written and released behind it.

The system itself loads such rows, and finds those to write, a page of 4 KB at a time, and spends as much processor time
on that as the work takes. Here a pass works on a window instead: a separate address range, as large as the rows and at
first without memory. Large direct requests (open(2), O_DIRECT) load rows ahead of the pass; behind it the rows that
changed are written, and their memory is released (madvise(2), MADV_DONTNEED). At the end the file is up to date.
Results do not depend on it. Linux only; elsewhere, and where memory is large enough, passes use the memory map itself.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.errors import FormatError
from spectral_graph.io.direct_read import SECTOR
from spectral_graph.io.files import reporting_full_disk
from spectral_graph.memory import left_bytes

SHARE = 0.6
"""Of the free memory: passes over larger arrays use windows."""
AHEAD_BYTES = BEHIND_BYTES = 64 << 20
"""Bytes of all arrays that are read ahead of the work, and that wait to be written behind it; less in little memory."""
PIECE = 4 << 20
"""Bytes of a request; two of the system's large pages."""
REQUESTS = 4
"""Reads in flight, and writes."""
# mmap(2); Python has the name from 3.13 on.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if platform.machine() in ("x86_64", "aarch64") else 0)


def exceed_memory(*arrays: np.ndarray) -> bool:
    """Return whether the memory-mapped arrays among these are so large that passes over them use windows."""
    mapped = sum(array.nbytes for array in arrays if _has_file(array))
    # `left_bytes` reads files of the system, which takes a third of a millisecond.
    return mapped > 0 and mapped > SHARE * left_bytes()


def _has_file(array: np.ndarray) -> bool:
    return (
        sys.platform == "linux"
        and isinstance(array, np.memmap)
        and array.flags.c_contiguous
        and array.nbytes > 0
        and Path(array.filename or "").is_file()
    )


class _Window:
    """A window: private memory for the rows of a memory-mapped array that a pass needs.

    Positions are in bytes from the beginning of the window, which is a sector boundary of the file.

    Args:
        array: C-contiguous.

    Attributes:
        rows: the window, of the same shape; rows that were neither loaded nor written are zero.

    Raises:
        OSError: there is no such address range.
    """

    def __init__(self, array: np.memmap) -> None:
        whole: Any = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        first = whole.offset + array.ctypes.data - whole.ctypes.data
        self._offset = first // SECTOR * SECTOR
        self._begin, self._end = first - self._offset, first - self._offset + array.nbytes
        self._size = _up(self._end, SECTOR)
        self._row_bytes = array.strides[0]
        self._range = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE)
        with suppress(OSError):  # a system without large pages
            self._range.madvise(mmap.MADV_HUGEPAGE)
        self._raw = memoryview(self._range)
        self.rows = np.frombuffer(self._range, array.dtype, array.size, self._begin).reshape(array.shape)
        self._file = Path(str(array.filename))
        mode = os.O_RDWR if array.flags.writeable else os.O_RDONLY
        self._plain = os.open(self._file, mode)
        try:
            self._direct = os.open(self._file, mode | os.O_DIRECT)
        except OSError:  # not on this file system
            try:
                self._direct = os.dup(self._plain)
            except OSError:
                os.close(self._plain)
                raise
        self._loading: deque[tuple[int, Future[None]]] = deque()
        self._stores = False
        self._asked = self._loaded = self._let_go = self._size

    def close(self) -> None:
        os.close(self._direct)
        os.close(self._plain)

    def begin(self, loads: bool, stores: bool) -> None:
        """Start a pass at the first row; `loads`: it reads the file; `stores`: it changes the file."""
        self._stores = stores
        self._asked = self._loaded = 0 if loads else self._size
        self._let_go = 0

    def load(self, stop: int, ahead: int, readers: ThreadPoolExecutor) -> None:
        """Start to read the rows before `stop`, and `ahead` bytes more; returns at once."""
        until = min(_up(self._place(stop) + ahead, PIECE), self._size)
        while self._asked < until:
            end = min(self._asked + PIECE, self._size)
            self._loading.append((end, readers.submit(self._read, self._asked, end)))
            self._asked = end

    def wait(self, stop: int) -> None:
        """Wait for the rows before `stop`."""
        while self._loading and self._loaded < self._place(stop):
            self._loaded, reading = self._loading.popleft()
            reading.result()

    def finish(self, stop: int, writers: ThreadPoolExecutor) -> list[Future[None]]:
        """Start to write the rows before `stop`, if the pass stores, and to release them; returns at once."""
        self.wait(stop)
        last = self._size if stop == len(self.rows) else self._place(stop) // PIECE * PIECE
        last = min(last, self._asked)  # never write what was not read
        begun = []
        while self._let_go < last:
            end = min(self._let_go + PIECE, self._size)
            begun.append(writers.submit(self._write_and_let_go, self._let_go, end))
            self._let_go = end
        return begun

    def _place(self, row: int) -> int:
        return self._begin + row * self._row_bytes

    def _read(self, begin: int, end: int) -> None:
        # Requests end at a sector, but the file may end before that.
        while begin < min(end, self._end):
            got = os.preadv(self._direct, [self._raw[begin:end]], self._offset + begin)
            if got == 0:
                raise FormatError(f"{self._file} is truncated: it ends at byte {self._offset + begin}")
            begin += got

    def _write_and_let_go(self, begin: int, end: int) -> None:
        if self._stores:
            self._write(max(begin, self._begin), min(end, self._end))
        self._range.madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def _write(self, begin: int, end: int) -> None:
        # The sectors at the ends may hold other rows, which direct requests would overwrite.
        first, last = min(_up(begin, SECTOR), end), max(begin, end // SECTOR * SECTOR)
        parts = ((self._plain, begin, first), (self._direct, first, last), (self._plain, max(first, last), end))
        with reporting_full_disk(self._file.parent):
            for fd, at, until in parts:
                while at < until:
                    at += os.pwrite(fd, self._raw[at:until], self._offset + at)


class Pager:
    """One or more passes over the rows of some arrays, each from the first row to the last.

    Args:
        arrays: of the same number of rows, none sharing memory with another. Those that are not memory-mapped, or not
            C-contiguous, get no window.
        when: whether to use windows if the arrays do not fit into memory.

    Attributes:
        arrays: the windows, or the arrays themselves, in the same order. Rows are valid inside the context, after
            `reach` and before `finished`.
    """

    def __init__(self, *arrays: np.ndarray, when: bool = True) -> None:
        self._windows: list[_Window | None] = [None] * len(arrays)
        shared = any(np.may_share_memory(one, other) for one, other in combinations(arrays, 2))
        if when and not shared and exceed_memory(*arrays):
            self._windows = [_window(array) for array in arrays]
        self.arrays = tuple(
            array if window is None else window.rows for array, window in zip(arrays, self._windows, strict=True)
        )
        self._used = [window for window in self._windows if window is not None]
        share = left_bytes() // 16
        self._ahead = min(AHEAD_BYTES, share) // max(1, len(self._used))
        self._behind = min(BEHIND_BYTES, share) // PIECE
        self._readers, self._writers = ThreadPoolExecutor(REQUESTS), ThreadPoolExecutor(REQUESTS)
        self._pending: deque[Future[None]] = deque()
        self._rows = len(arrays[0])

    def __enter__(self) -> Pager:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.finished(self._rows, 0)
        finally:
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown()
            for window in self._used:
                window.close()

    def begin(self, loads: Sequence[bool], stores: Sequence[bool]) -> None:
        """Start a pass at the first row; the pass before must have reached the last.

        Args:
            loads: for each array, whether the pass reads its content.
            stores: for each array, whether the changes of the pass are written.
        """
        self.finished(self._rows, 0)
        for window, load, store in zip(self._windows, loads, stores, strict=True):
            if window is not None:
                window.begin(load, store)

    def reach(self, stop: int) -> None:
        """Wait until the rows before `stop` are loaded; the next ones are read in the background."""
        for window in self._used:
            window.load(stop, self._ahead, self._readers)
        for window in self._used:
            window.wait(stop)

    def finished(self, stop: int, behind: int | None = None) -> None:
        """Write and release rows in the background; waits if the disk is too slow.

        Args:
            stop: the rest of the pass neither reads nor changes rows before it.
            behind: wait until at most this many requests are left; by default as many as memory allows.
        """
        for window in self._used:
            self._pending.extend(window.finish(stop, self._writers))
        while len(self._pending) > (self._behind if behind is None else behind):
            self._pending.popleft().result()


def _window(array: np.ndarray) -> _Window | None:
    if not _has_file(array):
        return None
    assert isinstance(array, np.memmap)
    try:
        return _Window(array)
    except OSError:  # no such address range: use the memory map
        return None


def _up(number: int, step: int) -> int:
    """Return the next multiple of `step`."""
    return -(-number // step) * step
