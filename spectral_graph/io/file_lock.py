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
"""Offset of the byte that is locked on Windows, beyond the content: others cannot read a locked byte."""
PAUSE = 0.1
"""Seconds between two attempts on Windows, which cannot wait without a time limit."""


def lock_file(descriptor: int, wait: bool) -> bool:
    """Lock a file for this process alone.

    Args:
        descriptor: of the open file; closing it releases the lock.
        wait: wait while another process holds the lock.

    Returns:
        Whether this process holds the lock; with `wait` always True.
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
