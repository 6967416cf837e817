"""Reading the small files that people write by hand or export: lists of images, class names, annotations."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from spectral_graph.errors import DataError

LARGEST = 4 * 2**30
"""Bytes of an annotation file. The panoptic annotations of COCO train2017 have under 2^29."""

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

    Args:
        path: the file.
        what: what it holds, in the plural, for the message.
        cure: what to do about a damaged file, for the message.

    Returns:
        The lines without white space at both ends; empty ones too.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    try:
        content = read_bytes(path)
        mark, encoding = next((each for each in _MARKS if content.startswith(each[0])), (b"", "utf-8"))
        text = content[len(mark) :].decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the {what} cannot be read ({error}); {cure}") from error
    if "\0" in text:
        raise DataError(f"{path}: the {what} cannot be read (there is a NUL character, so this is no text); {cure}")
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
