"""File names as text that can be stored, shown and compared everywhere."""

from __future__ import annotations

import os
from pathlib import Path


def readable(text: str) -> str:
    r"""Return a file name, or a message that holds one, as text without surrogates.

    Python decodes names by the locale and hides the bytes that it cannot decode in surrogates, which no file of text
    can hold. Here the bytes are read as UTF-8, whatever the locale, and those that are not UTF-8 become ``\xff``. So
    a file has one name in every locale.

    Args:
        text: as it comes from the file system or the command line.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte: names on Windows, and texts from elsewhere
        return text.encode("utf-8", "backslashreplace").decode()


def stored_path(path: Path) -> str:
    """Return a path as text that `restored_path` reads in any locale; bytes that are not UTF-8 stay surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def restored_path(text: str) -> Path:
    """Return the path of a stored text, or of one that was typed in this locale."""
    try:
        return Path(os.fsdecode(text.encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:  # names on Windows, which are not bytes
        return Path(text)
