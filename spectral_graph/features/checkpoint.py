"""Reading a checkpoint file of a timm model: unwrapped, in timm's names, checked."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spectral_graph.errors import WeightsError

_WRAPPERS = ("state_dict", "model", "teacher")
_PREFIXES = ("module.", "_orig_mod.", "backbone.")
_TORCH_SUFFIXES = (".pth", ".pt", ".bin")
# Parts for pre-training and classification.
_HEADS = ("head", "fc.", "attn_pool.", "mask_token", "decoder", "dino_head", "ibot_head", "lm_head", "pre_logits")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it, and unwrap it.

    Args:
        path: .safetensors (preferred), or .pth, .pt, .bin as `torch.save` writes them.

    Returns:
        Names and tensors; wrappers such as {"model": ...} and prefixes such as "module." are gone.

    Raises:
        WeightsError: the file is missing or damaged, of an unknown kind, or holds no tensors.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path}: there is no such file; give the path of a checkpoint with `weights`")
    suffix = path.suffix.lower()
    try:
        if suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        elif suffix in _TORCH_SUFFIXES:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise WeightsError(
                f"weights file {path}: files of kind {suffix or 'without suffix'!r} cannot be read; "
                f"give one of .safetensors, {', '.join(_TORCH_SUFFIXES)}"
            )
    except WeightsError:
        raise
    except Exception as error:  # the readers raise many kinds on damaged files
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(
            f"weights file {path} cannot be read: {reason}; get the file again, or convert it to .safetensors"
        ) from error
    state = _unwrap(content)
    if not any(isinstance(value, (Tensor, dict)) for value in state.values()):
        raise WeightsError(f"weights file {path} holds no tensors; give a checkpoint of the model's weights")
    return state


def _unwrap(content: Any) -> dict[str, Any]:
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        return {}
    state = {str(name): value for name, value in content.items()}
    for _ in _PREFIXES:
        for prefix in _PREFIXES:
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def fill(model: nn.Module, state: dict[str, Any], source: str, heads: Iterable[str] = ()) -> None:
    """Load a checkpoint in timm's names into a timm model without a head; heads of the checkpoint are left out.

    Args:
        model: the timm module.
        state: names and tensors.
        source: of the checkpoint, for messages.
        heads: further names of heads.

    Raises:
        WeightsError: a tensor is missing, unexpected, or has another shape.
    """
    wanted = model.state_dict()
    dropped = (*_HEADS, *heads)
    state = {name: value for name, value in state.items() if name in wanted or not name.startswith(dropped)}
    problems = []
    missing = [name for name in wanted if name not in state]
    unexpected = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if isinstance(state.get(name), Tensor) and state[name].shape != value.shape
    ]
    for title, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{len(names)} {title}: {', '.join(names[:3])}{more}")
    if problems:
        raise WeightsError(
            f"the weights from {source} do not fit the model ({'; '.join(problems)}); "
            "name the timm model that they were made for with `model`"
        )
    model.load_state_dict(state, strict=True)


def in_timm_names(name: str, model: nn.Module, state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Translate a checkpoint of the original authors to timm's names, by timm's function for the model."""
    from timm.models import model_entrypoint

    translate = getattr(sys.modules[model_entrypoint(name).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return state
    options: dict[str, Any] = {}
    # DeiT III checkpoints name their layer scale gamma_1, gamma_2; timm renames them on request only.
    if "adapt_layer_scale" in inspect.signature(translate).parameters and "blocks.0.gamma_1" in state:
        options["adapt_layer_scale"] = True
    # As timm's own loading does, for weights whose positions must be resampled to the model's grid.
    if "flexi" in name or "radio" in name:
        options |= {"interpolation": "bilinear", "antialias": False}
    if "radio" in name:
        options["align_corners"] = "base_patch16_radio_v3" in name or "huge_patch16_radio_v3" in name
    try:
        translated: dict[str, Any] = translate(state, model, **options)
    except Exception as error:  # it does not check the checkpoint
        raise WeightsError(
            f"the weights from {path} do not fit model {name} ({type(error).__name__}: {error}); "
            "name the timm model that they were made for with `model`"
        ) from error
    return translated
