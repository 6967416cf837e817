"""A lock on an open file, held until the process closes the file or ends."""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PLACE = 1 << 30
"""Where the byte lies that is locked on Windows: others cannot read a locked byte, and the file holds no more."""
PAUSE = 0.1
"""Seconds between two attempts on Windows, which cannot wait for a lock without end."""


def lock_file(descriptor: int, wait: bool) -> bool:
    """Lock a file for this process alone.

    Args:
        descriptor: of the open file; closing it lets go of the lock.
        wait: until no other process holds the lock.

    Returns:
        Whether the lock is held; without `wait` another process may hold it.
    """
    if fcntl is None:
        return _lock_on_windows(descriptor, wait)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if wait:
            raise
        return False
    return True


def _lock_on_windows(descriptor: int, wait: bool) -> bool:
    msvcrt: Any = importlib.import_module("msvcrt")
    while True:
        os.lseek(descriptor, PLACE, os.SEEK_SET)  # `locking` counts from the current place
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            if not wait:
                return False
            time.sleep(PAUSE)
        else:
            return True
