"""The state of a published run: run.json, files.json, and the files that they name.

files.json lists every file with its size and checksum:

    {"format": 1, "manifests": [sha256, ...], "files": {path: [bytes, sha256], ...}, "sha256": of the two before}

`manifests` holds the checksums of the run.json that this list belongs to, and of the one before it: the list is written
first, so a reader meets it with either.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError, UnsafePathError
from spectral_graph.io.files import decode_json, publish_file
from spectral_graph.io.inside import inside, relative_parts, shown
from spectral_graph.io.validation import as_tuple, validated
from spectral_graph.remote.stage_files import MANIFEST, complete_stages, stage_of_file
from spectral_graph.remote.store import Moved, ObjectStore
from spectral_graph.runs.manifest import FORGETTING, checked_manifest

FORMAT = 1
INDEX = "files.json"
REPUBLISH = "repeat the command that made the run, where its working folder is, or remove everything below the URL"
_ATTEMPTS = 5
_Size = Annotated[int, Field(ge=0, lt=2**63)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Entry(NamedTuple):
    """Size in bytes and SHA-256, in hexadecimal, of a file."""

    size: int
    sha256: str


class _Index(TypedDict):
    format: int
    manifests: list[_Sha256]
    files: dict[str, Annotated[tuple[_Size, _Sha256], BeforeValidator(as_tuple)]]
    sha256: _Sha256


_FORM = TypeAdapter(_Index)


def encode_index(files: dict[str, Entry], manifests: list[str]) -> bytes:
    """Return files.json; see `decode_index`."""
    content = {"manifests": manifests, "files": dict(sorted(files.items()))}
    return json.dumps({"format": FORMAT, **content, "sha256": _checksum(content)}).encode()


def decode_index(data: bytes, url: str) -> tuple[dict[str, Entry], list[str]]:
    """Read files.json, which may have been written by anyone.

    Args:
        data: its bytes.
        url: of the object, for messages.

    Returns:
        The files by path relative to the run, and the SHA-256 of each run.json that they may be read with.

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
    return {path: Entry(*entry) for path, entry in raw["files"].items()}, raw["manifests"]


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
        source: of the path, for the message.

    Raises:
        UnsafePathError: see `relative_parts`; or a part begins with a dot, as only unfinished and local files do.
    """
    parts = relative_parts(path, source)
    if any(part.startswith(".") for part in parts):
        raise UnsafePathError(f"{source} names the file {shown(path)}, which is hidden; {REPUBLISH}")
    return parts


@dataclass(frozen=True)
class Published:
    """A state of a published run.

    Attributes:
        manifest: run.json; None where there is no run.
        checksum: its SHA-256.
        files: the files of its complete stages, by path.
    """

    manifest: dict[str, Any] | None
    checksum: str
    files: dict[str, Entry]

    @classmethod
    def read(cls, store: ObjectStore) -> Published:
        """Read the state at a URL.

        Raises:
            FormatError: it is damaged, or of another format.
            RemoteError: it cannot be reached.
        """
        for _ in range(_ATTEMPTS):
            raw = store.read(MANIFEST)
            if raw is None:
                return cls(None, "", {})
            listed = store.read(INDEX)
            if listed is None:
                raise FormatError(f"{store.at(INDEX)} is missing; {REPUBLISH}")
            where = store.at(MANIFEST)
            manifest = checked_manifest(decode_json(raw, where, REPUBLISH), where, REPUBLISH)
            files, manifests = decode_index(listed, store.at(INDEX))
            if digest(raw) in manifests:
                complete = complete_stages(manifest)
                return cls(manifest, digest(raw), {p: e for p, e in files.items() if stage_of_file(p) in complete})
            time.sleep(0.2)  # a writer replaced both between the two reads
        raise FormatError(f"{store.at(MANIFEST)} is damaged: its checksum is not in {INDEX}; {REPUBLISH}")


def publish(store: ObjectStore, former: Published, manifest: dict[str, Any], files: dict[str, Entry]) -> Published:
    """Make `manifest` and `files` the state at the URL: the list first, run.json last.

    A reader meets the former state or this one; `files` must hold all files of both.
    """
    raw = (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    checksum = digest(raw)
    store.write(INDEX, encode_index(files, sorted({checksum, former.checksum} - {""})))
    store.write(MANIFEST, raw)
    return Published(manifest, checksum, files)


def with_stages(manifest: dict[str, Any], stages: set[str]) -> dict[str, Any]:
    """Return the manifest with all stages open but `stages`, and without the removal that is under way here."""
    records = {name: manifest["stages"][name] if name in stages else {"state": "open"} for name in STAGES}
    kept = {name: value for name, value in manifest.items() if name != FORGETTING}
    return {**kept, "stages": records}


def identity(manifest: dict[str, Any] | None) -> str:
    """Return a short text that changes with the complete stages and the times at which they were computed."""
    if manifest is None:
        return ""
    known = [manifest.get("fingerprint"), complete_stages(manifest)]
    return digest(json.dumps(known, sort_keys=True).encode())[:16]


def fetch(store: ObjectStore, path: str, entry: Entry, run: Path, moved: Moved) -> None:
    """Download one file and put it in place if its checksum is right.

    Args:
        store: of the published run.
        path: of the file, relative to the run.
        entry: its size and checksum.
        run: the local folder.
        moved: called with the bytes so far.

    Raises:
        FormatError: it is missing, truncated or damaged; the message names it and the cure.
        RemoteError: it cannot be reached.
        UnsafePathError: it would lie outside of `run`.
    """
    target = inside(run, path, store.at(INDEX), follow_links=False)
    cure = f"recompute with `force={stage_of_file(path)}`, or repeat the command that made it, where it was made"
    with publish_file(target) as aside:
        if not store.download(path, aside, moved):
            raise FormatError(f"{store.at(path)} is missing; {cure}")
        if aside.is_dir():
            raise FormatError(f"{store.at(path)} is a folder, and {store.at(INDEX)} lists it as a file; {cure}")
        found = entry_of(aside)
        if found.size != entry.size:
            raise FormatError(
                f"{store.at(path)} has {found.size} bytes, expected {entry.size}: it is truncated or changed; {cure}"
            )
        if found != entry:
            raise FormatError(f"{store.at(path)} is damaged: its checksum differs; {cure}")


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def entry_of(path: Path) -> Entry:
    """Read a file and return its size and checksum."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Entry(file.tell(), sha256)


def _checksum(content: dict[str, Any]) -> str:
    return digest(json.dumps(content, sort_keys=True).encode())
