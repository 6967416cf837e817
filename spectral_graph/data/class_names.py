"""Names of classes that a file of the user gives."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spectral_graph.data.text_file import read_lines
from spectral_graph.errors import DataError

MOST_CLASSES = 4096
"""Classes of a data set. Above it label maps hold instances or measurements, and K = classes asks for too much."""

_CURE = "write one name a line, in UTF-8"


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a list of class names, one a line; empty lines at the end do not count.

    Raises:
        DataError: the file cannot be read, or the names cannot be used.
    """
    names = read_lines(path, "class names", _CURE)
    while names and not names[-1]:
        names.pop()
    return checked_names(names, path, _CURE)


def checked_names(names: Sequence[str], source: Path, cure: str) -> tuple[str, ...]:
    """Return the class names of a file, once they can be told apart and shown.

    Raises:
        DataError: there is none, or more than MOST_CLASSES, or one is empty, occurs twice or cannot be shown.
    """
    if not names:
        raise DataError(f"{source}: the class names are missing; {cure}")
    if len(names) > MOST_CLASSES:
        raise DataError(f"{source}: the class names are {len(names)}, more than {MOST_CLASSES}; {cure}")
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{source}: the class names have a gap, number {number} is empty; {cure}")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise DataError(f"{source}: the class names have a control character in {name!a}; {cure}")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{source}: the class names have {name!a} {count} times; {cure}")
    return tuple(names)
