"""Small files that people write by hand or export: lists of images, class names, annotations."""

from __future__ import annotations

import codecs
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from spectral_graph.errors import DataError

LARGEST = 4 * 2**30
"""Bytes of an annotation file. The panoptic annotations of COCO train2017 have under 2^29."""

MOST_CLASSES = 4096
"""Classes of a data set. Above it label maps hold instances or measurements, and K = classes is too expensive."""

# The longer marks first: the one of UTF-32 begins with the one of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file (a folder, a pipe, ...) or larger than LARGEST.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError("it is no regular file")
    if about.st_size > LARGEST:
        raise OSError(f"it has {about.st_size / 1e9:.1f} GB")
    return path.read_bytes()


def read_lines(path: Path, what: str, cure: str) -> list[str]:
    """Read a text file: UTF-8, or UTF-16 or UTF-32 with a byte-order mark, with the line ends of any system.

    Returns:
        The lines without white space at both ends; empty ones too.

    Raises:
        DataError: the file cannot be read, or is no text. The message names its content `what` and ends with `cure`.
    """
    try:
        content = read_bytes(path)
        mark, encoding = next((each for each in _MARKS if content.startswith(each[0])), (b"", "utf-8"))
        text = content[len(mark) :].decode(encoding)
        if "\0" in text:
            raise OSError("it holds a NUL character, so it is no text")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the {what} cannot be read ({error}); {cure}") from error
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text)]


def refuse_repetition(names: Iterable[str], source: Path) -> None:
    """Raise DataError if a list names something twice."""
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise DataError(f"{source}: the list names {name} {count} times; remove the repeated lines")


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a list of class names, one a line; empty lines at the end do not count.

    Raises:
        DataError: the file cannot be read, or the names cannot be used.
    """
    cure = "write one name a line, in UTF-8"
    names = read_lines(path, "class names", cure)
    while names and not names[-1]:
        names.pop()
    return checked_names(names, path, cure)


def checked_names(names: Sequence[str], source: Path, cure: str) -> tuple[str, ...]:
    """Return the class names of a file if they are distinct and printable.

    Raises:
        DataError: there is none, or more than MOST_CLASSES, or one is empty, repeated or has a control character.
    """
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    why = ""
    if not names:
        why = "are missing"
    elif len(names) > MOST_CLASSES:
        why = f"are {len(names)}, more than {MOST_CLASSES}"
    elif blank := [number for number, text in enumerate(names, start=1) if not text.strip()]:
        why = f"have a gap, number {blank[0]} is empty"
    elif control := [text for text in names if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)]:
        why = f"have a control character in {control[0]!a}"
    elif count > 1:
        why = f"have {name!a} {count} times"
    if why:
        raise DataError(f"{source}: the class names {why}; {cure}")
    return tuple(names)
