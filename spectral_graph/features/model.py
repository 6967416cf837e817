"""The interface of vision models, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS

DEFAULT_MODEL = "focus_vits14"


@dataclass(frozen=True)
class LayerInfo:
    """One attention layer.

    Attributes:
        name: e.g. ``blocks.5``.
        index: position among the model's layers, from 0.
        heads: number of (query) heads; tensors hold heads * head_dim = dim columns, head by head.
        dim: columns of q, k and v.
        stride: side in pixels of the square of the image that one node of the layer stands for.
        part: ``down``, ``mid`` or ``up`` for the layers of a UNet; empty for models of one part.
    """

    name: str
    index: int
    heads: int
    dim: int
    stride: int
    part: str = ""


@dataclass(frozen=True)
class WeightsInfo:
    """Where a model's weights came from, to be recorded with a run.

    Attributes:
        source: the file, package or hub repository, as text.
        sha256: checksum of the weights file (hexadecimal); None for weights that came from no file.
        revision: commit of the hub repository or version of the package, where there is one.
    """

    source: str
    sha256: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Extraction:
    """Features of a batch of B images, in row-major order of their patches.

    Attributes:
        layers: layer name -> tensor name ("q", "k", "v") -> (B, nodes of the layer's grid, dim) float32, without class
            or register tokens.
        final: (B, h*w, width) float32, the model's final features.
        grid: (h, w), the finest grid of the chosen layers.
        grids: (h, w) of each layer.
    """

    layers: dict[str, dict[str, Tensor]]
    final: Tensor
    grid: tuple[int, int]
    grids: dict[str, tuple[int, int]]

    def cpu(self) -> Extraction:
        """Return the features in the CPU's memory, without a copy if they are there."""
        layers = {layer: {name: tensor.cpu() for name, tensor in found.items()} for layer, found in self.layers.items()}
        return replace(self, layers=layers, final=self.final.cpu())


class VisionModel(Protocol):
    """A vision model whose attention layers can be read."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def patch(self) -> int:
        """The sides of an image must be multiples of this many pixels."""

    @property
    def width(self) -> int:
        """Columns of the final features."""

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All attention layers, first to last."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the red, green and blue channels on the scale 0..1."""

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of the channels on the scale 0..1."""

    @property
    def weights(self) -> WeightsInfo:
        """Where the weights came from."""

    @property
    def note(self) -> str:
        """Remark for readers of scores of this model; empty if none."""

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text such as "5-11", "0,3,7", "blocks.5", "last:4", "mid,up[:6]" or "auto" names.

        Raises:
            ModelError: a part of the text names no layer; the message lists those that exist.
        """

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of the finest of these layers (of all by default) for an image of that size.

        Raises:
            ModelError: the sides are no multiples of `patch`.
        """

    def extract(
        self, pixels: Tensor, layers: Sequence[LayerInfo], tensors: Collection[str], ids: Sequence[str] = ()
    ) -> Extraction:
        """Run the model and copy q, k, v of some layers, and the final features.

        Args:
            pixels: (B, H, W, 3) uint8, red, green, blue; H and W multiples of `patch`.
            layers: layers of this model.
            tensors: subset of {"q", "k", "v"}.
            ids: names of the images; a diffusion model draws their timesteps and noise from them.

        Returns:
            The features, on the model's device.

        Raises:
            ModelError: the batch has another form, or a layer or tensor does not exist.
        """


def check_request(
    model: VisionModel, pixels: Tensor, layers: Sequence[LayerInfo], tensors: Collection[str], ids: Sequence[str]
) -> None:
    """Raise ModelError unless the arguments of `VisionModel.extract` are sound.

    Raises:
        ModelError: a tensor or layer does not exist, or the pixels or names have another form or number.
    """
    unknown = sorted(set(tensors) - set(TENSORS))
    if unknown:
        raise ModelError(f"tensors {', '.join(unknown)} do not exist; choose from q, k, v")
    foreign = [layer.name for layer in layers if layer not in model.layers]
    if foreign:
        raise ModelError(f"layers {', '.join(foreign)} are not layers of model {model.name}; use select_layers")
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != torch.uint8 or pixels.shape[0] == 0:
        raise ModelError(
            f"pixels of shape {tuple(pixels.shape)} and type {pixels.dtype}: give (B, H, W, 3) of torch.uint8"
        )
    if ids and len(ids) != len(pixels):
        raise ModelError(f"{len(ids)} names of images for {len(pixels)} images; give one for each")


def grid_of(name: str, unit: int, layers: Sequence[LayerInfo], height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the finest of some layers; without layers, those of squares of `unit` pixels.

    Args:
        name: of the model, for messages.
        unit: pixels; the sides must be multiples of it.
        layers: layers of the model.
        height: of the image in pixels.
        width: of the image in pixels.

    Raises:
        ModelError: the sides are no multiples of the unit.
    """
    if height < unit or width < unit or height % unit or width % unit:
        near = [max(1, round(side / unit)) * unit for side in (height, width)]
        raise ModelError(
            f"model {name}: the sides of an image of {height} x {width} pixels are no multiples of "
            f"{unit} pixels; resize it, for instance to {near[0]} x {near[1]}"
        )
    stride = min((layer.stride for layer in layers), default=unit)
    return height // stride, width // stride


def layer_grids(layers: Sequence[LayerInfo], height: int, width: int) -> dict[str, tuple[int, int]]:
    """Return the grid of each layer for an image of that size in pixels."""
    return {layer.name: (height // layer.stride, width // layer.stride) for layer in layers}


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float], device: torch.device | str) -> Tensor:
    """Return (B, 3, H, W) float32 on `device`: pixels on the scale 0..1, minus `mean`, over `std`, by channel."""
    scaled = pixels.to(device).permute(0, 3, 1, 2).to(torch.float32) / 255
    centre, spread = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
    return (scaled - centre) / spread
