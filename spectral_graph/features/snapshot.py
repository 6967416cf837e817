"""Folders of weights: a local one, or the files of a hub repository; and their checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from spectral_graph.errors import WeightsError
from spectral_graph.features.checkpoint import sha256_of
from spectral_graph.features.hub import fetch_folder
from spectral_graph.features.model import WeightsInfo

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def open_folder(
    name: str, place: str, weights: Path | None, marker: str, patterns: Sequence[str]
) -> tuple[Path, WeightsInfo]:
    """Return a model's folder, and where it came from.

    Args:
        name: name of the model, for messages.
        place: hub repository with or without ``@REVISION``, or a local folder.
        weights: a local folder that goes before `place`.
        marker: file that the folder must hold.
        patterns: which files of a repository are needed.

    Raises:
        WeightsError: there is no such folder, it lacks the marker or all weights, or the hub is out of reach.
    """
    folder = weights if weights is not None else Path(place) if Path(place).is_dir() else None
    if folder is None:
        folder = fetch_folder(name, place, marker, patterns)
        # The cache keeps a repository under snapshots/<commit>/.
        source, revision = f"{place.partition('@')[0]} on the Hugging Face hub", folder.name
    else:
        source, revision = f"folder {folder.name}", None
    if not folder.is_dir():
        found = "is a file" if folder.is_file() else "does not exist"
        raise WeightsError(f"model {name}: {folder} {found}; give the folder that holds {marker} with `weights`")
    if not (folder / marker).is_file():
        raise WeightsError(f"model {name}: the folder {folder} has no {marker}; give the folder that holds it")
    return folder, WeightsInfo(source, sha256_of_folder(folder, name), revision)


def sha256_of_folder(folder: Path, name: str) -> str:
    """Return one SHA-256 for all weights files below a folder: of their relative names and their own SHA-256.

    Args:
        folder: where they are.
        name: name of the model, for messages.

    Raises:
        WeightsError: there is no weights file.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHTS and path.is_file())
    if not files:
        raise WeightsError(
            f"model {name}: the folder {folder} holds no weights ({', '.join(_WEIGHTS)}); get them again"
        )
    total = hashlib.sha256()
    for path in files:
        total.update(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()
