"""Finding the parts of a data set in its folder, and saying what was looked for when one is missing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from spectral_graph.data.text_file import read_lines
from spectral_graph.errors import ConfigError, DataError, MissingDataError, UnsafePathError
from spectral_graph.io.inside import relative_parts


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
        ConfigError: it is no plain name.
        MissingDataError: the split is not there; the message lists those that are. One that exists is never taken
            in place of the default: the user would not know which images the scores belong to.
    """
    wanted = default if split is None else split
    found = sorted(existing)
    _require_plain(wanted)
    if wanted in found:
        return wanted
    asked = f"the default split {wanted!r}" if split is None else f"the split {wanted!r}"
    cure = f"splits there: {', '.join(found)}; name one with `split`" if found else "no split is there; check `root`"
    raise MissingDataError(f"{asked} is missing (looked for {looked_for}); {cure}")


def _require_plain(split: str) -> None:
    try:
        plain = len(relative_parts(split, "`split`")) == 1
    except UnsafePathError:
        plain = False
    if not plain:
        raise ConfigError(f"`split={split!a}` is no plain name; give the name of a split, not a path")


def file_names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, without the hidden ones; none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise MissingDataError(f"{folder}: this folder cannot be read ({error.strerror}); correct that") from error


def sub_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without the hidden ones; [] if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def read_list(path: Path) -> list[str]:
    """Read a list of image names, one a line; blank lines are skipped. What a line means, see `listed_name`.

    Raises:
        DataError: the file is no text.
    """
    return [line for line in read_lines(path, "list of images", "fetch it again") if line]


def listed_name(line: str, exists: Callable[[str], bool]) -> str:
    """Return the name in a line of a list.

    The lists of PASCAL VOC's classes have a second column (-1, 0 or 1), and names may hold spaces: the text up to the
    first tab is the name if there is an image of that name, otherwise its first word.
    """
    text = line.split("\t")[0].strip()
    first = text.split()[0]
    return text if text == first or exists(text) else first


def refuse_repetition(names: Iterable[str], source: Path) -> None:
    """Raise DataError if a list names something twice."""
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise DataError(f"{source}: the list names {name} {count} times; remove the repeated lines")
