"""A call that fails at a chosen moment, for tests of interrupted work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Crash(Exception):
    """What the call raises; nothing in the package knows it."""


@contextmanager
def crash_after(owner: Any, name: str, calls: int) -> Iterator[None]:
    """Let `calls` calls of owner.name through, then raise Crash at each."""
    original = getattr(owner, name)
    left = calls

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash
        return original(*args, **kwargs)

    with patch.object(owner, name, wrapper):
        yield
