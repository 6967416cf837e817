"""URLs and paths on the command line, and the local working folder of a URL."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from spectral_graph.io.readable import restored_path

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*(://|::)")


def is_url(text: str) -> bool:
    """Return whether a text is a URL (``s3://bucket/run``, ``file:///data/run``) and not a path."""
    return _SCHEME.match(text) is not None


def local_path(text: str) -> Path:
    """Return a typed path; ``~`` is the home folder also where no shell replaced it (``--out=~/x``).

    Raises:
        ValueError: the text is empty, which `Path` takes for the current folder.
    """
    if not text:
        raise ValueError("the name is empty; name a file or folder")
    return restored_path(os.path.expanduser(text))  # noqa: PTH111  Path.expanduser raises where a user is unknown


def place(text: str) -> Path | str:
    """Return a path, or a URL as text: `Path` would make one slash of two.

    Raises:
        ValueError: the text is empty.
    """
    return text.rstrip("/") if is_url(text) else local_path(text)


def work_folder(url: str) -> Path:
    """Return the local folder for a URL: below XDG_CACHE_HOME, or ~/.cache; the same for the same URL."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", url.rstrip("/").rsplit("/", 1)[-1]) or "run"
    digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    return cache / "spectral_graph" / "runs" / f"{name}-{digest}"
