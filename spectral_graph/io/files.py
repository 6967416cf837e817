"""Files and folders that are published whole, full disks, and JSON that anyone may have written."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from spectral_graph.errors import DiskFullError, FormatError

DEEPEST = 64
"""Levels of lists and objects in a JSON file; those of this package have at most eight."""
LONGEST_NUMBER = 300
"""Digits of a whole number in a JSON file: any with fewer can be converted to float64."""
FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def reporting_full_disk(path: Path, resume: str = "free some space and run the same command again") -> Iterator[None]:
    """Turn the system's out-of-space errors into a DiskFullError with the path and the cure."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFullError) or error.errno not in FULL_DISK:
            raise
        problem = f"the disk of {path} is full ({free_bytes(path) / 1e6:.0f} MB left, {error.strerror})"
        raise DiskFullError(problem, f"finished work is kept: {resume}") from error


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk of `path`, or of its nearest existing parent."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, needed: int, what: str) -> None:
    """Raise DiskFullError, before anything is written, if `needed` bytes do not fit."""
    free = free_bytes(path)
    if needed > free:
        raise DiskFullError(
            f"{what} needs {needed / 1e9:.2f} GB, but the disk of {path} has {free / 1e9:.2f} GB left",
            "free some space, name another disk with `out`, or use fewer images with `limit`",
        )


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write; when the block ends, force that file to the disk and rename it to `path`.

    After an error, a kill or a loss of power `path` is as it was, or the whole new file. One process at a time may
    publish a file of one path; missing parent folders are made.

    Raises:
        DiskFullError: the disk fills up, also while the block writes.
    """
    aside = _aside(path)
    with reporting_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(aside)  # left by a kill; or a link, which would lead the writer elsewhere
        try:
            yield aside
            with aside.open("rb+") as file:
                os.fsync(file)
            aside.replace(path)
        finally:
            remove(aside)
        sync_folder(path.parent)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends, rename it to `path`, in place of what is there.

    After an error `path` is as it was; after a kill it is that, or the whole new folder. A kill between the two renames
    leaves the former folder under a hidden name, and the next call restores it first. The content is not forced to the
    disk, because that takes milliseconds a file: it must have checksums, or be cheap to make again. One process at a
    time may publish a folder of one path; missing parent folders are made.

    Raises:
        DiskFullError: the disk fills up, also while the block writes.
    """
    aside, old = _aside(path), path.with_name(f".{path.name}.old")

    def restore() -> None:
        if os.path.lexists(old) and not os.path.lexists(path):
            old.rename(path)

    with reporting_full_disk(path):
        restore()
        remove(old)
        remove(aside)
        try:
            aside.mkdir(parents=True)
            yield aside
            if os.path.lexists(path):
                path.rename(old)
            aside.rename(path)
        except BaseException:
            restore()
            remove(aside)
            raise
        remove(old)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def write_atomically(path: Path, data: bytes) -> None:
    """Publish a file with this content."""
    with publish_file(path) as aside:
        aside.write_bytes(data)


def allocate(handle: BinaryIO, size: int) -> None:
    """Take `size` bytes of disk now: a full disk met later through a memory map would kill the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle.fileno(), 0, size)
    else:
        handle.write(b"\0" * size)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, so that a rename survives a loss of power."""
    if os.name == "nt":  # it opens no folders
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to the file `source`; a copy, forced to the disk, where there are no hard links."""
    remove(target)
    with suppress(OSError):
        target.hardlink_to(source)
        return
    with reporting_full_disk(target):
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically, keys in the order given."""
    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, cure: str = "remove it, or recompute the stage that made it") -> Any:
    """Read a JSON file; see `decode_json`.

    Args:
        path: the file.
        cure: for the message.

    Raises:
        FormatError: the file is damaged; the message names it.
    """
    return decode_json(path.read_bytes(), path, cure)


def decode_json(data: bytes, place: Path | str, cure: str) -> Any:
    """Decode JSON that anyone may have written; all values can be compared, printed and written again.

    Args:
        data: the bytes of a file.
        place: the file or URL, for the message.
        cure: for the message.

    Raises:
        FormatError: not JSON, NaN, a number beyond float64, or nesting beyond `DEEPEST`; the message names `place`.
    """
    try:
        found = json.loads(data, parse_float=_finite, parse_int=_whole, parse_constant=_refuse_constant)
        if _deeper_than(found, DEEPEST):
            raise RecursionError
        return found
    except RecursionError:
        raise FormatError(f"{place} is damaged (nested deeper than {DEEPEST} levels); {cure}") from None
    except ValueError as error:
        raise FormatError(f"{place} is damaged ({error}); {cure}") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is beyond float64")
    return value


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON")


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [outer for outer in level if isinstance(outer, (dict, list))]
        if not level:
            return False
        level = [part for outer in level for part in (outer.values() if isinstance(outer, dict) else outer)]
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists; of a symbolic link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
