"""What every model refuses before it starts to compute."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS
from spectral_graph.features.model import LayerInfo, VisionModel


def check_request(
    model: VisionModel, pixels: Tensor, layers: Sequence[LayerInfo], tensors: Collection[str], ids: Sequence[str]
) -> None:
    """Raise ModelError unless the arguments of `VisionModel.extract` are sound.

    Raises:
        ModelError: a tensor or layer that does not exist, pixels of another form, or not one name an image.
    """
    unknown = sorted(set(tensors) - set(TENSORS))
    if unknown:
        raise ModelError(f"tensors {', '.join(unknown)} do not exist; choose from q, k, v")
    foreign = [layer.name for layer in layers if layer not in model.layers]
    if foreign:
        raise ModelError(f"layers {', '.join(foreign)} are not layers of model {model.name}; use select_layers")
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != torch.uint8 or pixels.shape[0] == 0:
        raise ModelError(
            f"pixels of shape {tuple(pixels.shape)} and type {pixels.dtype}: (B, H, W, 3) of torch.uint8 is needed"
        )
    if ids and len(ids) != len(pixels):
        raise ModelError(f"{len(ids)} names of images for {len(pixels)} images; give one for each")


def grid_of(
    name: str, unit: int, layers: Sequence[LayerInfo], height: int, width: int, final_stride: int | None = None
) -> tuple[int, int]:
    """Return the rows and columns of the finest of some layers.

    Args:
        name: of the model, for messages.
        unit: the sides must be multiples of it.
        layers: at least one.
        height: of the image in pixels.
        width: of the image in pixels.
        final_stride: used where there are no layers.

    Raises:
        ModelError: the sides are no multiples of the unit.
    """
    if height < unit or width < unit or height % unit or width % unit:
        near = [max(1, round(side / unit)) * unit for side in (height, width)]
        raise ModelError(
            f"model {name}: the sides of an image of {height} x {width} pixels are no multiples of "
            f"{unit} pixels; resize it, for instance to {near[0]} x {near[1]}"
        )
    stride = min(layer.stride for layer in layers) if layers else final_stride or unit
    return height // stride, width // stride


def layer_grids(layers: Sequence[LayerInfo], height: int, width: int) -> dict[str, tuple[int, int]]:
    """Return the grid of each layer for an image of that size in pixels."""
    return {layer.name: (height // layer.stride, width // layer.stride) for layer in layers}


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device | str) -> Tensor:
    """Return (B, 3, H, W) float32 on `device`: pixels on the scale 0..1, minus `mean`, over `std`, by channel."""
    scaled = pixels.to(device).permute(0, 3, 1, 2).to(torch.float32) / 255
    centre, spread = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
    return (scaled - centre) / spread
