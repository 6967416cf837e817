"""Loading a diffusion model of the `diffusers` library from a folder or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.catalogue import entry_of
from spectral_graph.features.conditioning import encode
from spectral_graph.features.diffusion import DiffusionFeatures
from spectral_graph.features.noise import Noise
from spectral_graph.features.pretrained import open_folder, read_folder, require
from spectral_graph.io.files import read_json

_MARKER = "model_index.json"
_PARTS = ("unet", "transformer", "vae", "scheduler", "text_encoder", "text_encoder_2", "text_encoder_3")
_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
_PATTERNS = (
    _MARKER,
    *(f"{part}/*{suffix}" for part in _PARTS for suffix in (".json", ".safetensors", ".bin")),
    *(f"{part}/*" for part in _TOKENIZERS),
)
# Parts of a pipeline that only generate or check images.
_UNUSED = ("safety_checker", "feature_extractor", "image_encoder")


def load_diffusers(
    name: str,
    place: str,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    noise: Noise | None = None,
    prompt: str = "",
) -> DiffusionFeatures:
    """Load a latent diffusion model; arguments and errors are those of `load_model`.

    `place` is a hub repository, with or without ``@REVISION``, or a local folder; the folder `weights` has precedence.
    The denoiser computes in `dtype`, and the autoencoder in float32, because that of Stable Diffusion XL overflows in
    float16.
    """
    diffusers, transformers = require(name, "diffusers", "transformers")
    folder, info = open_folder(name, place, weights, _MARKER, _PATTERNS)
    index = read_json(folder / _MARKER)
    entry = entry_of(name)
    if entry is not None and entry.pipeline != index.get("_class_name"):
        raise WeightsError(
            f"model {name}: the folder {folder} holds a {index.get('_class_name')}, but {name} is a {entry.pipeline}; "
            f"give another folder with `weights`, or name this one with `model={folder}`"
        )
    pipeline = _read(diffusers, transformers, folder, index, name, dtype)
    denoiser = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if denoiser is None or getattr(pipeline, "vae", None) is None:
        raise ModelError(
            f"model {name}: a {type(pipeline).__name__} has no UNet or transformer with an autoencoder; use a latent "
            "diffusion model such as sd14"
        )
    for part in (denoiser, pipeline.vae, *(getattr(pipeline, key, None) for key in _PARTS[4:])):
        if part is not None:
            part.eval().requires_grad_(False).to(device)
    conditioning = encode(pipeline, denoiser, prompt, name)
    return DiffusionFeatures(
        denoiser,
        pipeline.vae,
        pipeline.scheduler,
        conditioning,
        name=name,
        weights=info,
        noise=noise or Noise(),
    )


def _read(diffusers: Any, transformers: Any, folder: Path, index: dict[str, Any], name: str, dtype: torch.dtype) -> Any:
    """Read the pipeline without the parts that features do not need."""
    # A part that the saved pipeline lacks (the third encoder of Stable Diffusion 3, for instance) has nulls there.
    absent = [part for part, entry in index.items() if entry == [None, None]]
    left_out: dict[str, Any] = {part: None for part in (*_UNUSED, *absent) if part in index}
    if "requires_safety_checker" in index:
        left_out["requires_safety_checker"] = False
    dtypes = {"vae": torch.float32, "default": dtype}

    def read() -> Any:
        return diffusers.DiffusionPipeline.from_pretrained(str(folder), local_files_only=True, dtype=dtypes, **left_out)

    return read_folder(name, folder, [diffusers, transformers], read)
