"""A parallel map in threads: ordered, and a bounded number of items ahead of the consumer."""

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

    Closing the generator early, also by an exception in the loop that reads it, does not wait for calls in progress.
    The threads are daemons, which `concurrent.futures` does not offer: a read that never returns (a network disk that
    is gone) does not keep the process alive after Ctrl-C or SIGTERM.

    Args:
        function: called in several threads; its exception is raised here when its item is due.
        items: read in the thread of the caller.
        ahead: maximum number of items in progress.
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
