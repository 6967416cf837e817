"""One thread for the linear algebra libraries, where their sums depend on how many there are or the problem is small.

How many threads BLAS takes belongs to the process, not to a thread of Python. So the limit is set around single calls,
never around work that runs code of others; and of several threads of Python whose limits overlap the first one
remembers the setting of the caller and the last one restores it. threadpoolctl alone does not: since version 3.7 it
ignores all threads but one, before it the last one could restore the limit of the first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _Shared:
    """A limit on BLAS that several threads of Python may hold at a time."""

    def __init__(self) -> None:
        self._lock, self._holders, self._before = Lock(), 0, list[tuple[Any, int]]()

    def take(self, libraries: list[Any]) -> None:
        """Set the limit, if no other thread has."""
        with self._lock:
            if self._holders == 0:
                self._before = [(library, library.get_num_threads()) for library in libraries]
                for library in libraries:
                    _set_threads(library, 1)
            self._holders += 1

    def give_back(self) -> None:
        """End the limit, if no other thread needs it."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for library, threads in self._before:
                    _set_threads(library, threads)


_SHARED = _Shared()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread: for calls so small that waiting threads would only take the cores from other work."""
    libraries = _libraries(len(sys.modules)).select(user_api="blas").lib_controllers
    own = [library for library in libraries if _of_each_thread(library)]
    before = [library.get_num_threads() for library in own]
    _SHARED.take([library for library in libraries if not _of_each_thread(library)])
    try:
        for library in own:
            _set_threads(library, 1)
        yield
    finally:
        for library, threads in zip(own, before, strict=True):
            _set_threads(library, threads)
        _SHARED.give_back()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread, and OpenMP where this thread of Python calls it (its setting belongs to each thread)."""
    with one_blas_thread(), _libraries(len(sys.modules)).select(user_api="openmp").limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> ThreadpoolController:
    """Return the libraries, which take longer to find than a small problem to solve; an import may bring new ones."""
    return ThreadpoolController()


def _of_each_thread(library: Any) -> bool:
    return getattr(library, "threading_layer", None) == "openmp"


def _set_threads(library: Any, threads: int) -> None:
    getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)
