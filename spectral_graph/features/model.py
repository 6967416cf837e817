"""What every vision model offers to the rest of the program, and how one is loaded by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

DEFAULT_MODEL = "focus_vits14"


@dataclass(frozen=True)
class LayerInfo:
    """One attention layer.

    Attributes:
        name: e.g. ``blocks.5``.
        index: position among the model's layers, from 0.
        heads: number of (query) heads; tensors hold heads * head_dim = dim columns, head by head.
        dim: columns of q, k and v.
    """

    name: str
    index: int
    heads: int
    dim: int


@dataclass(frozen=True)
class WeightsInfo:
    """Where a model's weights came from, to be recorded with a run.

    Attributes:
        source: the file, package or hub repository in words.
        sha256: checksum of the weights file (hexadecimal); None for weights that came from no file.
        revision: commit of the hub repository or version of the package, where there is one.
    """

    source: str
    sha256: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Extraction:
    """Features of a batch of B images with h x w patches each, in row-major patch order.

    Attributes:
        layers: layer name -> tensor name ("q", "k", "v") -> (B, h*w, dim) float32, without class or register tokens.
        final: (B, h*w, width) float32, the patch tokens after the model's final norm.
        grid: (h, w).
    """

    layers: dict[str, dict[str, Tensor]]
    final: Tensor
    grid: tuple[int, int]


class VisionModel(Protocol):
    """A vision transformer whose attention layers can be read."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def patch(self) -> int:
        """Side of a patch in pixels; the sides of an image must be multiples of it."""

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
        """What a reader of scores must know about this model; empty if nothing."""

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text such as "5-11", "0,3,7", "blocks.5", "last:4" or "all" names."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches of an image of that size in pixels."""

    def extract(self, pixels: Tensor, layers: Sequence[LayerInfo], tensors: Collection[str]) -> Extraction:
        """Return q, k, v of the layers and the final patch tokens of a (B, H, W, 3) uint8 batch."""


def load_model(
    name: str = DEFAULT_MODEL,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
) -> VisionModel:
    """Load a model by name.

    Args:
        name: ``focus_vits14``, or any timm vision transformer such as ``vit_small_patch14_dinov2.lvd142m``.
        weights: a local weights file: for ``focus_vits14`` its ONNX file, for a timm model a checkpoint
            (.safetensors, .pth, .pt, .bin). Without it the installed package or the Hugging Face hub is used.
        device: where the model runs.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: the name is unknown, or the model has no attention layers that can be read.
        WeightsError: the weights are missing, damaged, out of reach or belong to another model.
    """
    if name == DEFAULT_MODEL:
        from spectral_graph.features.focus import load_focus

        return load_focus(weights, device=device)
    from spectral_graph.features.timm_model import load_timm

    return load_timm(name, weights, device=device)
