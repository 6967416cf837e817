"""File names as text that can be stored, shown and compared everywhere."""

from __future__ import annotations

import os
from pathlib import Path


def readable(text: str) -> str:
    r"""Return a file name, or a message with one, as text without surrogates.

    Python decodes names by the locale and replaces bytes that it cannot decode by surrogates, which cannot be encoded
    as UTF-8. Here the bytes are read as UTF-8 in every locale, and the others become ``\xff``: a file has one name.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that are not bytes: names on Windows, and other texts
        return text.encode("utf-8", "backslashreplace").decode()


def stored_path(path: Path) -> str:
    """Return a path as text that `restored_path` reads in any locale; bytes that are not UTF-8 stay surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def restored_path(text: str) -> Path:
    """Return the path of a text from `stored_path`, or of one that was typed in this locale."""
    try:
        return Path(os.fsdecode(text.encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:  # names on Windows, which are not bytes
        return Path(text)
