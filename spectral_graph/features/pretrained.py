"""Folders of weights as transformers and diffusers save them, and the packages that read them."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.checkpoint import sha256_of
from spectral_graph.features.hub import fetch_folder
from spectral_graph.features.model import WeightsInfo

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def require(model: str, *packages: str) -> list[Any]:
    """Import packages that a model needs.

    Args:
        model: name of the model, for the message.
        *packages: their names, on PyPI and in Python alike.

    Raises:
        ModelError: one is missing or cannot be imported; the message says how to install it.
    """
    modules = []
    for package in packages:
        try:
            modules.append(importlib.import_module(package))
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == package
            reason = "which is not installed" if missing else f"which cannot be imported ({error})"
            raise ModelError(
                f"model {model} needs the package {package}, {reason}; run: pip install {' '.join(packages)}"
            ) from None
    return modules


def open_folder(
    name: str, place: str, weights: Path | None, marker: str, patterns: Sequence[str]
) -> tuple[Path, WeightsInfo]:
    """Return a model's folder, and where it came from.

    Args:
        name: name of the model, for messages.
        place: hub repository with or without ``@REVISION``, or a local folder.
        weights: a local folder, used instead of `place`.
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
    return folder, WeightsInfo(source, _sha256_of_folder(folder, name), revision)


def read_folder(name: str, folder: Path, libraries: Sequence[Any], read: Callable[[], Any]) -> Any:
    """Return what `read` reads from a folder, without warnings and progress bars of the libraries.

    Args:
        name: name of the model, for the message.
        folder: the folder, for the message.
        libraries: the modules of diffusers and transformers that `read` uses.
        read: calls a `from_pretrained`.

    Raises:
        WeightsError: the folder cannot be read.
    """
    logs = [library.utils.logging for library in libraries]
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        return read()
    except Exception as error:  # the libraries raise many kinds on damaged folders
        raise WeightsError(
            f"model {name}: the folder {folder} cannot be read: {str(error).partition(chr(10))[0]}; get it again"
        ) from error
    finally:
        for log, (verbosity, bars) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()


def _sha256_of_folder(folder: Path, name: str) -> str:
    """Return the SHA-256 of the names and SHA-256 of all weights files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHTS and path.is_file())
    if not files:
        raise WeightsError(
            f"model {name}: the folder {folder} holds no weights ({', '.join(_WEIGHTS)}); get them again"
        )
    total = hashlib.sha256()
    for path in files:
        total.update(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()
