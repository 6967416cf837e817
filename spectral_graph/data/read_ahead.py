"""Calling a function on many items in threads, in order, a bounded number of them ahead of the consumer."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = max(2, min(8, os.cpu_count() or 2))


def read_ahead(function: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order.

    A generator that is closed early, by an exception in the loop that reads it too, does not wait for calls that have
    begun: the threads are daemons, so that a read that never returns (a network disk that is gone) does not keep the
    process alive after Ctrl-C or SIGTERM.

    Args:
        function: called in several threads; what it raises is raised here, at its place.
        items: read in the thread of the caller.
        ahead: items at most whose results are waited for.
    """
    waiting: queue.SimpleQueue[tuple[Future[Result], Item] | None] = queue.SimpleQueue()

    def work() -> None:
        while (task := waiting.get()) is not None:
            future, item = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)

    threads = [threading.Thread(target=work, name="read-ahead", daemon=True) for _ in range(min(THREADS, ahead))]
    pending: deque[Future[Result]] = deque()
    for thread in threads:
        thread.start()
    try:
        for item in items:
            future: Future[Result] = Future()
            waiting.put((future, item))
            pending.append(future)
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for _ in threads:
            waiting.put(None)
