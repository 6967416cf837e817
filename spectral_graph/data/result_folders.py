"""Recognising folders that this program wrote, so that its pictures are not taken for photos."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

LOCK = ".lock"
_RECORDS = {"run.json": {"stages", "config", "fingerprint"}, "image.json": {"options", "versions", "skipped"}}
"""Files at the top of a folder of results, and entries that each has."""
_PHOTO = {"result.json", "result.npz", "labels.png", "regions.png"}
"""Files of one photo's results."""
_PAGE, _MARK = "index.html", b'<meta name="generator" content="spectral_graph">'
_HEAD = 4000
"""Bytes of a page in which the mark must lie."""


def is_result_folder(folder: Path, files: Collection[str]) -> bool:
    """Tell whether a folder holds a run, results of photos, those of one photo, or a report.

    ``run.json`` and ``image.json`` are written before any picture, so a run that was killed is recognised too. A
    file of that name alone proves nothing: the lock must lie beside it, or its content must be that of ours.

    Args:
        folder: the folder.
        files: the names of all files in it, hidden ones too.
    """
    names = set(files)
    if names >= _PHOTO or ".remote.json" in names:
        return True
    for name, entries in _RECORDS.items():
        if name in names and (LOCK in names or entries <= _entries(folder / name)):
            return True
    return _PAGE in names and _MARK in _head(folder / _PAGE)


def _entries(path: Path) -> set[str]:
    try:
        content: Any = json.loads(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
