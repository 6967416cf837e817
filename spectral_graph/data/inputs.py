"""Fingerprints of the inputs of a run: the photos, the labels, and local files of weights.

Contents are hashed, so a file replaced by another of the same size is noticed, and a folder that was moved or copied
is the same input. A table in the run directory keeps the digests: a file is read again only when its size, its times
or its inode changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from spectral_graph.data.dataset import Dataset
from spectral_graph.data.images import orientation
from spectral_graph.data.read_ahead import read_ahead
from spectral_graph.io.files import write_atomically
from spectral_graph.progress import Reporter

TABLE = ".inputs.json"
"""Name of the table in a run directory."""
_FORMAT = 1
_SETTLED = 2 * 10**9
"""Nanoseconds that a file must be unchanged before its digest is kept: the resolution of times on some file systems."""
_AHEAD = 64


@dataclass(frozen=True)
class _File:
    """A file to be hashed.

    Attributes:
        key: its name in the table; the same wherever the data lie.
        path: its path; None for a file that the data set does not have.
        turned: read its EXIF orientation too.
    """

    key: str
    path: Path | None
    turned: bool = False


@dataclass(frozen=True)
class _Digest:
    """BLAKE2b-128 of a file, empty if it cannot be read, and its EXIF orientation."""

    digest: str
    orientation: int = 1


class Digests:
    """Digests of files, kept in a table.

    Args:
        path: of the table; a missing or damaged table counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read_table(path)
        self._new: dict[str, list[Any]] = {}

    def of(self, files: Sequence[_File], reporter: Reporter) -> list[_Digest]:
        """Return the digests of files, reading those that changed."""
        states = [None if file.path is None else _state(file.path) for file in files]
        known = [self._known(file, state) for file, state in zip(files, states, strict=True)]
        todo = [file for file, found in zip(files, known, strict=True) if found is None]
        results = read_ahead(_examine, todo, _AHEAD)
        digests = []
        with reporter.track("compare input", len(files), "files", len(files) - len(todo)) as progress:
            for file, state, found in zip(files, states, known, strict=True):
                if found is None:
                    found = next(results)
                    progress.advance()
                if state is not None and found.digest and time.time_ns() - max(state[1:3]) > _SETTLED:
                    self._new[file.key] = [*state, found.digest, found.orientation]
                digests.append(found)
        return digests

    def _known(self, file: _File, state: list[int] | None) -> _Digest | None:
        if state is None:
            return _Digest("")
        kept = self._kept.get(file.key)
        return _Digest(kept[-2], kept[-1]) if kept is not None and kept[: len(state)] == state else None

    def save(self) -> None:
        """Write the table, if it changed."""
        if self._new != self._kept:
            text = json.dumps({"format": _FORMAT, "files": self._new}, separators=(",", ":"))
            write_atomically(self._path, text.encode())
            self._kept = self._new


def photos_fingerprint(dataset: Dataset, digests: Digests, reporter: Reporter) -> str:
    """Return a text that changes when photos are added, removed, renamed or replaced.

    The EXIF orientation of a photo counts only if the photo is turned upright, that is, if it has no label map.
    """
    what = "turned photo" if dataset.turns else "photo"
    files = [_File(f"{what} {record.id}", record.image, dataset.turns) for record in dataset.records]
    found = digests.of(files, reporter)
    return _joined(
        f"{record.id}\0{digest.digest}\0{digest.orientation if dataset.is_turned(record) else 1}"
        for record, digest in zip(dataset.records, found, strict=True)
    )


def labels_fingerprint(dataset: Dataset, digests: Digests, reporter: Reporter) -> str:
    """Return a text that changes when label maps, annotation files or names of classes do.

    The chosen class table of a data set is not part of it: that is an option.
    """
    files = [_File(f"label {record.id}", record.label) for record in dataset.records]
    files += [_File(f"annotations {path.name}", path) for path in dataset.annotations]
    return _files_fingerprint(files, digests, reporter)


def weights_fingerprint(path: Path | None, digests: Digests, reporter: Reporter) -> str:
    """Return a text that changes when a file of weights, or any file in a folder of them, does; empty without one."""
    if path is None or not path.exists():
        return ""
    below = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    names = [p.relative_to(path).as_posix() if path.is_dir() else "" for p in below]
    files = [_File(f"weights {name}", p) for name, p in zip(names, below, strict=True)]
    return _files_fingerprint(files, digests, reporter)


def _files_fingerprint(files: Sequence[_File], digests: Digests, reporter: Reporter) -> str:
    found = digests.of(files, reporter)
    return _joined(f"{file.key}\0{digest.digest}" for file, digest in zip(files, found, strict=True))


def _joined(lines: Iterable[str]) -> str:
    total = hashlib.sha256()
    for line in lines:
        total.update(f"{line}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def _state(path: Path) -> list[int] | None:
    """Return size, times of change and inode of a file; None if it is missing or no regular file."""
    try:
        about = path.stat()
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino] if stat.S_ISREG(about.st_mode) else None


def _examine(file: _File) -> _Digest:
    assert file.path is not None
    try:
        # O_NONBLOCK: the file may have been replaced by a pipe since `_state`.
        with os.fdopen(os.open(file.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
            digest = hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            return _Digest(digest, _orientation(opened) if file.turned else 1)
    except OSError:
        return _Digest("")


def _orientation(file: Any) -> int:
    file.seek(0)
    try:
        with Image.open(file) as image:
            return orientation(image)
    except Exception:  # reading the photo later raises the same error, and counts it
        return 1


def _read_table(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
        files = content["files"] if content["format"] == _FORMAT else {}
        return {
            key: row
            for key, row in files.items()
            if len(row) == 6 and isinstance(row[-2], str) and isinstance(row[-1], int)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
