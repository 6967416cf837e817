"""Limits of one thread for linear algebra libraries: for sums that depend on the number of threads, and small problems.

The number of threads of BLAS belongs to the process, not to a thread of Python. So the limit is set around single
calls, never around code of the caller; and of several threads of Python whose limits overlap the first one records the
setting of the caller and the last one restores it. threadpoolctl alone does not: since version 3.7 it ignores all
threads but one, before it the last one could restore the limit of the first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


class _SharedLimit:
    """A limit on BLAS that several threads of Python may hold at a time."""

    def __init__(self) -> None:
        self._lock, self._holders, self._before = Lock(), 0, list[tuple[Any, int]]()

    def acquire(self, libraries: list[Any]) -> None:
        """Set the limit unless another thread holds it."""
        with self._lock:
            if self._holders == 0:
                self._before = _limit(libraries)
            self._holders += 1

    def release(self) -> None:
        """Restore the setting of the caller unless another thread holds the limit."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                _restore(self._before)


_SHARED = _SharedLimit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread: for calls so small that waiting threads would only take cores from other work."""
    libraries = _libraries(len(sys.modules)).select(user_api="blas").lib_controllers
    # The setting of a BLAS over OpenMP belongs to each thread of Python.
    own = [library for library in libraries if getattr(library, "threading_layer", None) == "openmp"]
    before: list[tuple[Any, int]] = []
    _SHARED.acquire([library for library in libraries if library not in own])
    try:
        before = _limit(own)
        yield
    finally:
        _restore(before)
        _SHARED.release()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread, and OpenMP for calls from this thread of Python, to which its setting belongs."""
    with one_blas_thread(), _libraries(len(sys.modules)).select(user_api="openmp").limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> ThreadpoolController:
    """Return the libraries; to find them takes longer than a small problem, and an import may load new ones."""
    return ThreadpoolController()


def _limit(libraries: list[Any]) -> list[tuple[Any, int]]:
    """Limit libraries to one thread, and return them with their former numbers of threads."""
    before = [(library, library.get_num_threads()) for library in libraries]
    _restore([(library, 1) for library in libraries])
    return before


def _restore(settings: list[tuple[Any, int]]) -> None:
    for library, threads in settings:
        getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)
