"""Paths from untrusted files: annotations, image lists, the list of a published run, stored attributes.

Such a path is never joined to a folder directly: `relative_parts` checks its form, `inside` joins it.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from spectral_graph.errors import UnsafePathError

LONGEST_PART = 255
"""Bytes of a file name: the limit of ext4, xfs, btrfs, APFS and NTFS."""
LONGEST_PATH = 4000
"""Bytes of a relative path: Linux accepts 4096 with the folder in front of it."""


def relative_parts(name: object, source: Path | str) -> tuple[str, ...]:
    """Split a path of an untrusted file into its parts, at least one.

    Args:
        name: the path as it was read: relative, with ``/`` between its parts.
        source: the file that names it, for the message.

    Raises:
        UnsafePathError: it is not text, empty, absolute, too long, or has a part that is empty, ``.`` or ``..``, or
            that holds a backslash, a control character or a character that the file system cannot store.
    """
    if not isinstance(name, str):
        raise UnsafePathError(f"{source} names {shown(name)} where a file name should be; {_CURE}")
    why = _objection(name)
    if why:
        raise UnsafePathError(f"{source} names the file {shown(name)}, which {why}; {_CURE}")
    return tuple(name.split("/"))


def inside(folder: Path, name: object, source: Path | str, *, follow_links: bool) -> Path:
    """Join a path of an untrusted file to the folder that it must stay in.

    Args:
        folder: the folder.
        name: see `relative_parts`.
        source: the file that names it, for the message.
        follow_links: accept symbolic links below `folder` that lead out of it. True for folders that the user
            arranged (a data set); False for folders with downloaded files (a published run).

    Raises:
        UnsafePathError: see `relative_parts`; or a symbolic link leads out of `folder`.
    """
    path = folder.joinpath(*relative_parts(name, source))
    if not follow_links and not path.resolve().is_relative_to(folder.resolve()):
        raise UnsafePathError(
            f"{source} names the file {shown(name)}, which a symbolic link takes to {path.resolve()}, outside "
            f"{folder}; remove the link"
        )
    return path


def _plain(name: str) -> str:
    parts = name.split("/")
    why = _objection(name) or ("has more than one part" if len(parts) > 1 else "")
    if why or name.startswith("."):
        raise ValueError(f"the name {shown(name)} {why or 'begins with a dot'}")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""A name in an untrusted file that becomes a file name: one part of a path, see `relative_parts`, and not hidden."""


def distinct(names: list[str]) -> list[str]:
    """Return the names unchanged; ValueError if one occurs twice."""
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shown(twice)} occurs twice")
    return names


PlainNames = Annotated[list[PlainName], AfterValidator(distinct)]
"""Names of different files of one folder."""

_CURE = "fetch the file that names it again from a source that you trust"


def _objection(name: str) -> str:
    """Return the reason why a path is unsafe, empty if it is safe."""
    parts = name.split("/")
    if name.startswith("/") or (len(name) > 1 and name[1] == ":" and name[0].isascii() and name[0].isalpha()):
        return "is absolute"
    if "\\" in name:
        return "holds a backslash"
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "holds a control character"
    if "" in parts:
        return "has an empty part"
    if "." in parts or ".." in parts:
        return "has a part '.' or '..'"
    try:
        lengths = [len(os.fsencode(part)) for part in parts]
    except UnicodeEncodeError:
        return "holds a character that this file system cannot store"
    if max(lengths) > LONGEST_PART or sum(lengths) + len(lengths) > LONGEST_PATH:
        return "is too long for a file system"
    return ""


def shown(name: object) -> str:
    """Return an untrusted value for a message: in ASCII, and not longer than 120 letters."""
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:117]}..."
