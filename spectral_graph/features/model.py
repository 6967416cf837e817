"""What every vision model offers to the rest of the program."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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
        source: the file, package or hub repository in words.
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
        """Return the features in the CPU's memory, without a copy where they lie there."""
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
        """What a reader of scores must know about this model; empty if nothing."""

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text such as "5-11", "0,3,7", "blocks.5", "last:4", "mid,up[:6]" or "auto" names."""

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of the finest of these layers (of all by default) for an image of that size."""

    def extract(
        self, pixels: Tensor, layers: Sequence[LayerInfo], tensors: Collection[str], ids: Sequence[str] = ()
    ) -> Extraction:
        """Return q, k, v of the layers and the final features of a (B, H, W, 3) uint8 batch of the images `ids`."""
