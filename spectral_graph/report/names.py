"""Unique file names for the pictures of a report that are safe on every system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_LONGEST = 80
# Windows takes these for devices, whatever follows the first dot:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


class FileNames:
    """Hands out file names; each is unique, also on systems that ignore case.

    Args:
        taken: names that `stem` does not return.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._reserved = {name.casefold() for name in taken}
        self._stems: set[str] = set()
        self._files: set[str] = set()

    def stem(self, image_id: str) -> str:
        """Return the beginning of the names of one image's files.

        It is the id itself where that is safe and unused. Otherwise unsafe characters become ``_``, dots and dashes at
        its ends are removed, and a digest of the id is added. Names of devices on Windows are not safe.
        """
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", image_id).lstrip(".-")[:_LONGEST].rstrip(".") or "image"
        device = _DEVICE.fullmatch(safe)
        if device or safe != image_id or safe.casefold() in self._reserved:
            safe = safe.replace(".", "_") if device else safe
            safe += "-" + hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return _take(safe, "", self._stems)

    def file(self, stem: str, what: str) -> str:
        """Return the name ``<stem>_<what>.png``, or ``<what>.png`` without a stem, with a number added if taken."""
        return _take(f"{stem}_{what}" if stem else what, ".png", self._files)


def slug(text: str) -> str:
    """Return a name as a part of a file name: ``V-V`` becomes ``vv``, ``final features`` ``final_features``."""
    return re.sub(r"\s+", "_", re.sub(r"[^a-z0-9\s]", "", text.lower()).strip())[:_LONGEST] or "pathway"


def _take(name: str, suffix: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while (candidate + suffix).casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add((candidate + suffix).casefold())
    return candidate + suffix
