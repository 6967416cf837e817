"""Many files moved at once, with progress in megabytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from spectral_graph.progress import Reporter, Tracker

WORKERS = 16
"""Files under way at once: small ones wait for the network, not for its bandwidth."""

Moved = Callable[[int], None]


class _Megabytes:
    """Tells a tracker of megabytes about bytes, from any thread."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self._bytes, self._lock = tracker, 0, threading.Lock()

    def add(self, count: int) -> None:
        """Take note of `count` bytes."""
        with self._lock:
            before, self._bytes = self._bytes, self._bytes + count
            if units := megabytes(self._bytes) - megabytes(before):
                self._tracker.advance(units)


def megabytes(count: int) -> int:
    """Return bytes in megabytes, rounded up, so that something is never nothing."""
    return -(-count // 1_000_000)


def transfer(reporter: Reporter, what: str, sizes: Mapping[str, int], move: Callable[[str, Moved], None]) -> None:
    """Move files; the first error ends it, when the files under way have ended.

    Args:
        reporter: where progress goes.
        what: what is done, e.g. `upload`.
        sizes: bytes of each file, by path.
        move: moves one file, and calls its second argument with bytes as they go; called in several threads.
    """
    with (
        reporter.track(what, megabytes(sum(sizes.values())), "MB") as tracker,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        counter = _Megabytes(tracker)

        def one(path: str) -> None:
            told = 0

            def moved(count: int) -> None:
                nonlocal told
                count = min(count, sizes[path] - told)  # a part that is sent again counts once
                told += count
                counter.add(count)

            move(path, moved)
            moved(sizes[path])

        under_way = [pool.submit(one, path) for path in sizes]
        try:
            for future in as_completed(under_way):
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
