"""files.json of a published run: every file with its size and checksum.

    {"format": 1, "manifests": [sha256, ...], "files": {path: [bytes, sha256], ...}, "sha256": of the two before}

`manifests` holds the checksums of the run.json that this list belongs to, and of the one before it: the list is written
first, so a reader meets it with either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.errors import FormatError, UnsafePathError
from spectral_graph.io.files import decode_json
from spectral_graph.io.inside import relative_parts, shown
from spectral_graph.io.validation import as_tuple, validated

FORMAT = 1
NAME = "files.json"
_CHUNK = 1 << 22


class Entry(NamedTuple):
    """What is known of a file: size in bytes, and SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass
class Index:
    """The files of a published run.

    Attributes:
        files: by path relative to the run, with ``/``.
        manifests: SHA-256 of the run.json that the list may be read with.
    """

    files: dict[str, Entry] = field(default_factory=dict)
    manifests: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return files.json."""
        content = {"manifests": list(self.manifests), "files": dict(sorted(self.files.items()))}
        return json.dumps({"format": FORMAT, **content, "sha256": _checksum(content)}).encode()

    @classmethod
    def decode(cls, data: bytes, url: str) -> Index:
        """Read files.json, which may have been written by anyone.

        Args:
            data: its bytes.
            url: where it lies, for messages.

        Raises:
            FormatError: it is damaged, or of another format.
            UnsafePathError: a path of it leads out of the run, or is none that `spectral-graph` publishes.
        """
        raw = decode_json(data, url, REPUBLISH)
        found = raw.get("format") if isinstance(raw, dict) else None
        if type(found) is int and found != FORMAT:
            raise FormatError(f"{url} has format {shown(found)}, this version reads {FORMAT}; update the package")
        raw = validated(raw, _FORM, url, REPUBLISH)
        if raw["sha256"] != _checksum({"manifests": raw["manifests"], "files": raw["files"]}):
            raise FormatError(f"{url} is damaged: its checksum differs; {REPUBLISH}")
        _check_paths(raw["files"], url)
        return cls({path: Entry(*entry) for path, entry in raw["files"].items()}, tuple(raw["manifests"]))


REPUBLISH = "repeat the command that made the run, where its working folder is, or remove everything below the URL"
_Size = Annotated[int, Field(ge=0, lt=2**63)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Index(TypedDict):
    format: int
    manifests: list[_Sha256]
    files: dict[str, Annotated[tuple[_Size, _Sha256], BeforeValidator(as_tuple)]]
    sha256: _Sha256


_FORM = TypeAdapter(_Index)


def _check_paths(files: Iterable[str], url: str) -> None:
    """Refuse a list in which a path leads out of the run, is hidden, or is a folder of another path."""
    names = set(files)
    for path in sorted(names):
        parts = published_parts(path, url)
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            if folder in names:
                raise FormatError(f"{url} is damaged: it lists {path!r} below {folder!r}, which is a file; {REPUBLISH}")


def published_parts(path: object, source: Path | str) -> tuple[str, ...]:
    """Split the path of a published file into its parts.

    Args:
        path: relative to the run.
        source: what names it, for the message.

    Raises:
        UnsafePathError: see `relative_parts`; or a part begins with a dot, as only unfinished and local files do.
    """
    parts = relative_parts(path, source)
    if any(part.startswith(".") for part in parts):
        raise UnsafePathError(f"{source} names the file {shown(path)}, which is hidden; {REPUBLISH}")
    return parts


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def entry_of(path: Path) -> Entry:
    """Read a file and return its size and checksum."""
    checksum, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            checksum.update(part)
            size += len(part)
    return Entry(size, checksum.hexdigest())


def _checksum(content: dict[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True).encode())
