"""Loading a timm vision transformer by name, with weights from the hub or from a file."""

from __future__ import annotations

import difflib
import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.checkpoint import fill, read_checkpoint, sha256_of
from spectral_graph.features.hub import fetch
from spectral_graph.features.model import DEFAULT_MODEL, WeightsInfo
from spectral_graph.features.vit import VisionTransformerFeatures, attention_modules, not_a_vit


def load_timm(
    name: str,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VisionTransformerFeatures:
    """Load a timm vision transformer.

    Args:
        name: timm's name, with or without the tag of its weights (``vit_small_patch14_dinov2.lvd142m``).
        weights: a local checkpoint; without it the hub's.
        device: where the model runs.
        dtype: type that it computes in.

    Raises:
        ModelError: timm has no such model, or it has no attention layers that can be read.
        WeightsError: the weights are missing, out of reach, or do not fit.
    """
    config = _config(name)
    with torch.device("meta"):  # the structure without memory: a model of no use is refused before a download
        attention_modules(create(name), name)
    if weights is None:
        path = _from_hub(name, config)
        # The cache keeps a file under snapshots/<commit>/.
        info = WeightsInfo(f"{config.hf_hub_id} on the Hugging Face hub", sha256_of(path), path.parent.name)
        state = read_checkpoint(path)
    else:
        path = weights
        state = read_checkpoint(path)
        info = WeightsInfo(f"file {path.name}", sha256_of(path))
    model = create(name)
    heads = config.classifier or ()
    fill(model, _in_timm_names(name, model, state, path), str(path), (heads,) if isinstance(heads, str) else heads)
    return wrap(model, name, info, device=device, dtype=dtype)


def create(name: str) -> nn.Module:
    """Create a timm vision transformer with random weights, without a head, for images of any size.

    Args:
        name: timm's name.

    Raises:
        ModelError: timm has no such model, or it is no vision transformer.
    """
    import timm

    _config(name)
    try:
        model: nn.Module = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:
        raise not_a_vit(name, "it takes no dynamic_img_size") from None
    return model


def wrap(
    model: nn.Module,
    name: str,
    weights: WeightsInfo,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VisionTransformerFeatures:
    """Make a `VisionModel` of a timm model, with the channel statistics that timm has for it.

    Args:
        model: what `create` returned, with its weights.
        name: timm's name.
        weights: where the weights came from.
        device: where the model runs.
        dtype: type that it computes in.
    """
    config = _config(name)
    return VisionTransformerFeatures(
        model,
        name=name,
        mean=tuple(config.mean),
        std=tuple(config.std),
        weights=weights,
        device=device,
        dtype=dtype,
    )


def _config(name: str) -> Any:
    """Return timm's description of a model's pre-trained weights."""
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture) or set(name) & set("/\\:"):
        known = [DEFAULT_MODEL, *timm.list_models()]
        close = difflib.get_close_matches(architecture, known, n=5, cutoff=0.5)
        hint = f"; close names: {', '.join(close)}" if close else ""
        raise ModelError(
            f"model {name}: neither {DEFAULT_MODEL} nor a model of timm {timm.__version__}{hint}; "
            f"all: python -c \"import timm; print(timm.list_models('*vit*'))\""
        )
    try:
        return get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        offer = f"it has: {', '.join(tags)}" if tags else "it has none"
        raise ModelError(f"model {name}: {architecture} has no weights tagged {tag!r}; {offer}") from None


def _from_hub(name: str, config: Any) -> Path:
    if config.hf_hub_id:
        return fetch(name, config.hf_hub_id, config.hf_hub_filename)
    cure = f"give a local file with `weights=FILE`, or use `model={DEFAULT_MODEL}`, which needs no download"
    if config.url:
        raise WeightsError(f"model {name}: its weights are not on the hub but at {config.url}; {cure}")
    raise WeightsError(f"model {name}: timm knows no pre-trained weights for it; {cure}")


def _in_timm_names(name: str, model: nn.Module, state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Translate a checkpoint of the original authors to timm's names, with timm's own function for the model."""
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
    except Exception as error:  # it trusts the checkpoint's form
        raise WeightsError(
            f"the weights from {path} do not fit model {name} ({type(error).__name__}: {error}); "
            "name the timm model that they were made for with `model`"
        ) from error
    return translated
