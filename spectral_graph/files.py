"""Writing files so that a reader sees all of one or none, and saying so in words when the disk is full."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectral_graph.errors import DiskFullError, FormatError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_full_in_words(path: Path, resume: str = "free some space and run the same command again") -> Iterator[None]:
    """Turn the system's out-of-space errors into a DiskFullError that names the place and the cure."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFullError) or error.errno not in _FULL:
            raise
        problem = f"the disk of {path} is full ({free_bytes(path) / 1e6:.0f} MB left, {error.strerror})"
        raise DiskFullError(problem, f"finished work is kept: {resume}") from error


def free_bytes(path: Path) -> int:
    """Return the space left on the disk that holds `path`, or its nearest existing parent."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, needed: int, what: str) -> None:
    """Raise DiskFullError before anything is written if `needed` bytes do not fit."""
    free = free_bytes(path)
    if needed > free:
        raise DiskFullError(
            f"{what} needs {needed / 1e9:.2f} GB, but the disk of {path} has {free / 1e9:.2f} GB left",
            "free some space, name another disk with `out`, or use fewer images with `limit`",
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file aside, force it to the disk, and put it in place by a rename."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_full_in_words(path):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, keys in the order given."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, cure: str = "remove it, or recompute the stage that made it") -> Any:
    """Read a JSON file of ours.

    Args:
        path: the file.
        cure: what to do if it is damaged, for the message.

    Raises:
        FormatError: the file is damaged; the message names it.
    """
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is damaged ({error}); {cure}") from None


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
