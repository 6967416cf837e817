"""What lies at the URL of a run: run.json, files.json, and the files that they tell of."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError
from spectral_graph.io.files import decode_json, publish_file
from spectral_graph.io.inside import inside
from spectral_graph.remote.index import NAME, REPUBLISH, Entry, Index, digest, entry_of
from spectral_graph.remote.parts import MANIFEST, complete_stages, stage_of_file
from spectral_graph.remote.store import ObjectStore
from spectral_graph.remote.transfer import Moved
from spectral_graph.runs.manifest import FORGETTING, checked_manifest

_ATTEMPTS = 5


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
            listed = store.read(NAME)
            if listed is None:
                raise FormatError(f"{store.at(NAME)} is missing; {REPUBLISH}")
            where = store.at(MANIFEST)
            manifest = checked_manifest(decode_json(raw, where, REPUBLISH), where, REPUBLISH)
            index = Index.decode(listed, store.at(NAME))
            if digest(raw) in index.manifests:
                complete = complete_stages(manifest)
                files = {path: entry for path, entry in index.files.items() if stage_of_file(path) in complete}
                return cls(manifest, digest(raw), files)
            time.sleep(0.2)  # a writer came between the two
        raise FormatError(f"{store.at(MANIFEST)} is damaged: its checksum is not in {NAME}; {REPUBLISH}")


def publish(store: ObjectStore, former: Published, manifest: dict[str, Any], files: dict[str, Entry]) -> Published:
    """Make `manifest` and `files` the state at the URL: the list first, run.json last.

    A reader meets the former state or this one; `files` must hold what both need.
    """
    raw = (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()
    checksum = digest(raw)
    store.write(NAME, Index(files, tuple(sorted({checksum, former.checksum} - {""}))).encode())
    store.write(MANIFEST, raw)
    return Published(manifest, checksum, files)


def with_stages(manifest: dict[str, Any], stages: set[str]) -> dict[str, Any]:
    """Return the manifest with all stages open but `stages`; what is being removed here is no matter of a reader."""
    records = {name: manifest["stages"][name] if name in stages else {"state": "open"} for name in STAGES}
    kept = {name: value for name, value in manifest.items() if name != FORGETTING}
    return {**kept, "stages": records}


def identity(manifest: dict[str, Any] | None) -> str:
    """Return a short text that differs where the complete stages are others, or were computed at another time."""
    if manifest is None:
        return ""
    known = [manifest.get("fingerprint"), complete_stages(manifest)]
    return digest(json.dumps(known, sort_keys=True).encode())[:16]


def fetch(store: ObjectStore, path: str, entry: Entry, run: Path, moved: Moved) -> None:
    """Bring one file here and put it in place once its checksum is right.

    Args:
        store: of the published run.
        path: of the file, relative to the run.
        entry: its size and checksum.
        run: the local folder.
        moved: called with bytes as they come.

    Raises:
        FormatError: it is missing, truncated or damaged; the message names it and the cure.
        RemoteError: it cannot be reached.
        UnsafePathError: it would lie outside of `run`.
    """
    target = inside(run, path, store.at(NAME), follow_links=False)
    cure = f"recompute with `force={stage_of_file(path)}`, or repeat the command that made it, where it was made"
    with publish_file(target) as aside:
        if not store.download(path, aside, moved):
            raise FormatError(f"{store.at(path)} is missing; {cure}")
        if aside.is_dir():
            raise FormatError(f"{store.at(path)} is a folder, and {store.at(NAME)} lists it as a file; {cure}")
        found = entry_of(aside)
        if found.size != entry.size:
            raise FormatError(
                f"{store.at(path)} has {found.size} bytes, expected {entry.size}: it is truncated or changed; {cure}"
            )
        if found != entry:
            raise FormatError(f"{store.at(path)} is damaged: its checksum differs; {cure}")
