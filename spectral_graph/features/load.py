"""Loading a vision model by name."""

from __future__ import annotations

from pathlib import Path

import torch

from spectral_graph.features.catalogue import resolve
from spectral_graph.features.model import DEFAULT_MODEL, VisionModel
from spectral_graph.features.noise import Noise


def load_model(
    name: str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    noise: Noise | None = None,
    prompt: str = "",
) -> VisionModel:
    """Load a model by name.

    Args:
        name: ``focus_vits14``; an alias of `spectral_graph.features.catalogue` such as ``sd14`` or ``dinov2_vits14``
            (``sd14@COMMIT`` pins a revision of the hub); ``timm:NAME``, ``transformers:OWNER/NAME`` or
            ``diffusers:OWNER/NAME``; a local folder of transformers or diffusers; or a bare timm name.
        weights: local weights: the ONNX file of ``focus_vits14``, a checkpoint of a timm model (.safetensors, .pth,
            .pt, .bin), the folder of a transformers or diffusers model. Without it the installed package or the
            Hugging Face hub is used.
        device: where the model runs.
        dtype: type that the model computes in; features are float32 whatever it is.
        noise: timesteps and seed of a diffusion model.
        prompt: text that conditions a diffusion model.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: the name is unknown, a package is missing, or the model has no attention layers that can be read.
        WeightsError: the weights are missing, damaged, out of reach or belong to another model.
    """
    weights = None if weights is None else Path(weights)
    library, place = resolve(name)
    if library == "focus":
        from spectral_graph.features.focus import load_focus

        return load_focus(weights, device=device, dtype=dtype)
    if library == "timm":
        from spectral_graph.features.timm_model import load_timm

        return load_timm(place, weights, device=device, dtype=dtype)
    if library == "transformers":
        from spectral_graph.features.transformers_model import load_transformers

        return load_transformers(name, place, weights, device=device, dtype=dtype)
    from spectral_graph.features.diffusers_model import load_diffusers

    return load_diffusers(name, place, weights, device=device, dtype=dtype, noise=noise or Noise(), prompt=prompt)
