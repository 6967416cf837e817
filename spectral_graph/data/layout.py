"""Finding the parts of a data set in its folder, and saying what was looked for when one is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from spectral_graph.errors import DataError, MissingDataError


def first_folder(candidates: Sequence[Path], what: str, cure: str) -> Path:
    """Return the first of `candidates` that is a folder.

    Raises:
        MissingDataError: none is; the message lists them, and ends with `cure`.
    """
    for path in candidates:
        if path.is_dir():
            return path
    raise MissingDataError(f"no folder with {what}: looked for {' and '.join(str(p) for p in candidates)}; {cure}")


def choose_split(split: str | None, default: str, existing: Iterable[str], looked_for: str) -> str:
    """Return the split asked for, or the default one.

    Args:
        split: what the user asked for, None for the default.
        default: the usual split of this data set.
        existing: the splits that are there.
        looked_for: pattern of the files or folders that make a split, for the message.

    Raises:
        MissingDataError: the split is not there; the message lists those that are. One that exists is never taken
            in place of the default: the user would not know which images the scores belong to.
    """
    wanted = default if split is None else split
    found = sorted(existing)
    if wanted in found:
        return wanted
    asked = f"the default split {wanted!r}" if split is None else f"the split {wanted!r}"
    cure = f"splits there: {', '.join(found)}; name one with --split" if found else "no split is there; check --root"
    raise MissingDataError(f"{asked} is missing (looked for {looked_for}); {cure}")


def file_names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, without the hidden ones."""
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()}


def sub_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without the hidden ones; [] if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_list(path: Path) -> list[str]:
    """Read a list of names, one a line, its first word counting; blank lines are skipped.

    Raises:
        DataError: the file is no text, or names something twice.
    """
    try:
        names = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list of images cannot be read ({error}); fetch it again") from error
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise DataError(f"{path}: the list names {name} {count} times; remove the repeated lines")
    return names
