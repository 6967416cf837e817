"""files.json of a published run: every file with its size and checksum.

    {"format": 1, "manifests": [sha256, ...], "files": {path: [bytes, sha256], ...}, "sha256": of the two before}

`manifests` holds the checksums of the run.json that this list belongs to, and of the one before it: the list is written
first, so a reader meets it with either.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spectral_graph.errors import FormatError

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
        """Read files.json.

        Args:
            data: its bytes.
            url: where it lies, for messages.

        Raises:
            FormatError: it is damaged, or of another format.
        """
        raw = decode_json(data, url)
        if raw.get("format") != FORMAT:
            raise FormatError(
                f"{url} has format {raw.get('format')!r}, this version reads {FORMAT}; update the package"
            )
        content = {"manifests": raw.get("manifests"), "files": raw.get("files")}
        if raw.get("sha256") != _checksum(content):
            raise FormatError(f"{url} is damaged: its checksum differs; {REPUBLISH}")
        return cls({path: Entry(*entry) for path, entry in raw["files"].items()}, tuple(raw["manifests"]))


REPUBLISH = "repeat the command that made the run, where its working folder is, or remove everything below the URL"


def decode_json(data: bytes, url: str) -> dict[str, Any]:
    """Decode a JSON object.

    Raises:
        FormatError: it is damaged; the message names `url`.
    """
    try:
        raw = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{url} is damaged ({error}); {REPUBLISH}") from None
    if not isinstance(raw, dict):
        raise FormatError(f"{url} is damaged (it is no JSON object); {REPUBLISH}")
    return raw


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
