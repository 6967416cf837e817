"""Fetching weights from the Hugging Face hub; an unreachable hub is reported within seconds."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectral_graph.errors import WeightsError
from spectral_graph.features.model import DEFAULT_MODEL

PATIENCE = 10.0
"""Seconds within which the hub must answer a first request."""

# Copies of the same weights in other forms; some repositories hold pickles only.
_PICKLES = ("*.bin",)
_VARIANTS = ("*.fp16.*", "*non_ema*", "*.onnx", "*.msgpack", "*.h5", "*flax*")

_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def fetch(name: str, repository: str, filename: str | None = None) -> Path:
    """Return the weights file of a hub repository: from the local cache, or downloaded into it.

    Args:
        name: name of the model, for messages.
        repository: e.g. ``timm/vit_small_patch14_dinov2.lvd142m``, with ``@revision`` if not the main one.
        filename: name in the repository if not timm's usual one.

    Raises:
        WeightsError: the file is not in the cache, and the hub is out of reach, switched off or refuses it.
    """
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError:
        raise _out_of_reach(name, repository, "pip install huggingface_hub is needed first") from None
    repo, _, revision = repository.partition("@")
    names = _FILES if filename in (None, *_FILES) else (str(filename),)
    place: dict[str, Any] = {"repo_id": repo, "revision": revision or None}
    for candidate in names:
        try:
            return Path(hf_hub_download(filename=candidate, local_files_only=True, **place))
        except LocalEntryNotFoundError:
            continue
    if constants.HF_HUB_OFFLINE:
        raise _out_of_reach(name, repository, "HF_HUB_OFFLINE is set and the file is not in the local cache")
    reason = _unreachable(constants.ENDPOINT)
    if reason:
        raise _out_of_reach(name, repository, reason)
    try:
        for candidate in names:
            try:
                return Path(hf_hub_download(filename=candidate, **place))
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):
                    raise
    except Exception as error:  # connection, access and disk errors of several libraries
        raise _out_of_reach(name, repository, str(error).partition("\n")[0]) from error
    raise _out_of_reach(name, repository, f"the repository has none of {', '.join(names)}")


def fetch_folder(name: str, repository: str, marker: str, patterns: Sequence[str]) -> Path:
    """Return the folder of a hub repository: from the local cache, or downloaded into it.

    Args:
        name: name of the model, for messages.
        repository: e.g. ``CompVis/stable-diffusion-v1-4``, with ``@revision`` if not the main one.
        marker: file that is in the cache if the repository was downloaded.
        patterns: which files are needed.

    Raises:
        WeightsError: it is not in the cache, and the hub is out of reach, switched off or refuses it.
    """
    try:
        from huggingface_hub import constants, snapshot_download
    except ImportError:
        raise _out_of_reach(name, repository, "pip install huggingface_hub is needed first", "FOLDER") from None
    repo, _, revision = repository.partition("@")

    def get(local: bool) -> Path:
        for ignored in ((*_VARIANTS, *_PICKLES), _VARIANTS):
            folder = snapshot_download(
                repo,
                revision=revision or None,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignored),
                local_files_only=local,
            )
            if any(Path(folder).rglob("*.safetensors")):
                break
        return Path(folder)

    reason = "HF_HUB_OFFLINE is set and the repository is not in the local cache"
    if not constants.HF_HUB_OFFLINE:
        reason = _unreachable(constants.ENDPOINT)
    if not reason:
        try:
            return get(local=False)
        except Exception as error:  # connection, access and disk errors of several libraries
            raise _out_of_reach(name, repository, str(error).partition("\n")[0], "FOLDER") from error
    try:
        folder = get(local=True)
    except Exception:  # each version of the client has other errors for a cache without the repository
        raise _out_of_reach(name, repository, reason, "FOLDER") from None
    if not (folder / marker).is_file():
        raise _out_of_reach(name, repository, reason, "FOLDER")
    return folder


def _unreachable(endpoint: str) -> str:
    """Return why the hub does not answer, or "". The hub's own client would retry for most of a minute."""
    from huggingface_hub.utils import get_session

    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        try:
            get_session().head(endpoint, timeout=PATIENCE)
            answers.put("")
        except Exception as error:  # handed to the waiting thread as text
            answers.put(f"{endpoint} cannot be reached ({error})")

    # In another thread, because the look-up of a host name has no time limit.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=PATIENCE)
    except queue.Empty:
        return f"{endpoint} did not answer within {PATIENCE:.0f} seconds"


def _out_of_reach(name: str, repository: str, reason: str, kind: str = "FILE") -> WeightsError:
    return WeightsError(
        f"model {name}: its weights ({repository} on the Hugging Face hub) are out of reach: {reason}; "
        f"give a local {kind.lower()} with `weights={kind}`, or use `model={DEFAULT_MODEL}`, which needs no hub"
    )
