"""Vision transformers of the `transformers` library, from a folder or from the hub."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.pretrained import open_folder, read_folder, require
from spectral_graph.features.vit import VisionTransformerFeatures
from spectral_graph.io.files import read_json

_PATTERNS = ("*.json", "model*.safetensors", "pytorch_model*.bin")
_MARKER = "config.json"

_Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

# model_type of the configuration -> class of the vision part, and channel statistics where the folder has none.
_CLASSES: dict[str, tuple[str, _Statistics]] = {
    "vit": ("ViTModel", _HALF),
    "deit": ("DeiTModel", _IMAGENET),
    "dinov2": ("Dinov2Model", _IMAGENET),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", _IMAGENET),
    "dinov3_vit": ("DINOv3ViTModel", _IMAGENET),
    "vit_mae": ("ViTMAEModel", _IMAGENET),
    "clip": ("CLIPVisionModel", _CLIP),
    "clip_vision_model": ("CLIPVisionModel", _CLIP),
    "siglip": ("SiglipVisionModel", _HALF),
    "siglip_vision_model": ("SiglipVisionModel", _HALF),
    "ijepa": ("IJepaModel", _IMAGENET),
}


class TransformersFeatures(VisionTransformerFeatures):
    """A vision transformer of the transformers library; the library itself interpolates positions."""

    def _final_tokens(self, images: Tensor) -> Tensor:
        takes = inspect.signature(self._model.forward).parameters
        options: dict[str, Any] = {}
        if "interpolate_pos_encoding" in takes:
            options["interpolate_pos_encoding"] = True
        if "noise" in takes:
            # MAE drops patches, and shuffles them by sorting this noise: ascending noise keeps their order.
            self._model.config.mask_ratio = 0.0
            patches = (images.shape[2] // self.patch) * (images.shape[3] // self.patch)
            options["noise"] = torch.arange(patches, device=self.device).expand(len(images), -1) / patches
        tokens: Tensor = self._model(images, **options).last_hidden_state
        # CLIP applies its final norm to the class token only.
        vision = getattr(self._model, "vision_model", self._model)
        if hasattr(vision, "pre_layrnorm"):
            tokens = vision.post_layernorm(tokens)
        return tokens


def load_transformers(
    name: str,
    place: str,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TransformersFeatures:
    """Load a vision transformer of the transformers library; arguments and errors are those of `load_model`.

    `place` is a hub repository, with or without ``@REVISION``, or a local folder; the folder `weights` has precedence.
    """
    (transformers,) = require(name, "transformers")
    folder, info = open_folder(name, place, weights, _MARKER, _PATTERNS)
    kind = str(read_json(folder / _MARKER).get("model_type"))
    if kind not in _CLASSES:
        raise ModelError(
            f"model {name}: {folder / _MARKER} has the model_type {kind!r}; "
            f"these can be read: {', '.join(sorted(_CLASSES))}"
        )
    class_name, statistics = _CLASSES[kind]
    builder = getattr(transformers, class_name, None)
    if builder is None:
        raise ModelError(
            f"model {name}: transformers {transformers.__version__} has no {class_name}; "
            "run: pip install --upgrade transformers"
        )
    model = _read(transformers, builder, folder, name)
    mean, std = _statistics(folder, statistics)
    return TransformersFeatures(
        model,
        {part: module for part, module in model.named_modules() if part},
        name=name,
        patch=model.config.patch_size,
        width=model.config.hidden_size,
        mean=mean,
        std=std,
        weights=info,
        device=device,
        dtype=dtype,
    )


def _read(transformers: Any, builder: Any, folder: Path, name: str) -> Any:
    def read() -> Any:
        return builder.from_pretrained(
            str(folder),
            local_files_only=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
        )

    model, report = read_folder(name, folder, [transformers], read)
    # The pooler follows the patch tokens and is not used; many checkpoints have none.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise WeightsError(
            f"model {name}: the weights in {folder} lack {len(missing)} tensors of {type(model).__name__}: "
            f"{', '.join(missing[:3])}; name the model that they were made for with `model`"
        )
    return model


def _statistics(folder: Path, default: _Statistics) -> _Statistics:
    """Return channel means and standard deviations: of the folder's preprocessor, or of the family."""
    file = folder / "preprocessor_config.json"
    found = read_json(file) if file.is_file() else {}
    mean, std = found.get("image_mean") or default[0], found.get("image_std") or default[1]
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
