"""Attention features of vision transformers, whichever library they are from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.attention import TENSORS, AttentionTap, find_attention, no_attention
from spectral_graph.features.layers import last_layers, select_layers
from spectral_graph.features.model import (
    Extraction,
    LayerInfo,
    WeightsInfo,
    check_request,
    grid_of,
    layer_grids,
    normalised,
)


class VisionTransformerFeatures(ABC):
    """A vision transformer as a `VisionModel`: class and register tokens, then patches row by row.

    Its layers are the modules that call the attention kernel from all tokens to all, found by a forward pass on a
    small image. Attribute `prefix` is the number of class and register tokens.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        *,
        name: str,
        patch: int | Sequence[int],
        width: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: WeightsInfo,
        note: str = "",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap a model and find its layers.

        Args:
            model: the module with its weights.
            modules: by name, those among which the layers are.
            name: as `VisionModel` has it, like `width`, `mean`, `std`, `weights` and `note`.
            patch: side of a patch in pixels, or both sides.
            width: columns of the final patch tokens.
            mean: of the channels.
            std: of the channels.
            weights: their source.
            note: remark for readers of scores.
            device: where the model runs.
            dtype: type that it computes in; the layers are found in float32.

        Raises:
            ModelError: patches that are not square, or attention that cannot be read.
            WeightsError: the weights give NaN or infinity.
        """
        sides = (patch, patch) if isinstance(patch, int) else patch
        if sides[0] != sides[1]:
            raise ModelError(f"model {name}: patches of {sides[0]} x {sides[1]} pixels; square patches are needed")
        self.name, self.mean, self.std, self.weights, self.note = name, mean, std, weights, note
        self.patch, self.width = int(sides[0]), int(width)
        self._model = cast(Any, model)
        self._modules = dict(modules)
        model.eval().requires_grad_(False).to(device=device, dtype=torch.float32)
        self.prefix, self.layers = self._find_layers()
        model.to(dtype)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = next(self._model.parameters()).device
        return device

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text names (see `layers.select_layers`); "auto" names the last seven twelfths."""
        return select_layers(self.layers, spec, self.name, last_layers(self.layers))

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of patches of an image of that size in pixels; `layers` has no effect."""
        return grid_of(self.name, self.patch, layers, height, width)

    def extract(
        self,
        pixels: Tensor,
        layers: Sequence[LayerInfo] = (),
        tensors: Collection[str] = TENSORS,
        ids: Sequence[str] = (),
    ) -> Extraction:
        """Run the model as `VisionModel.extract` says; `ids` has no effect."""
        check_request(self, pixels, layers, tensors, ids)
        height, width = pixels.shape[1:3]
        grid = self.grid(height, width)
        tap = AttentionTap(
            {layer.name: self._modules[layer.name] for layer in layers}, tensors, slice(self.prefix, None)
        )
        with torch.inference_mode(), tap:
            tokens = self._tokens_of(pixels)
        return Extraction(
            {layer.name: tap.only_call(layer.name, self.name).values for layer in layers},
            tokens[:, self.prefix :].to(torch.float32, copy=True),
            grid,
            layer_grids(layers, height, width),
        )

    @abstractmethod
    def _final_tokens(self, images: Tensor) -> Tensor:
        """Return all tokens (B, tokens, width) after the final norm, of normalised images (B, 3, H, W)."""

    def _tokens_of(self, pixels: Tensor) -> Tensor:
        self._model.eval()
        dtype = next(self._model.parameters()).dtype
        return self._final_tokens(normalised(pixels, self.mean, self.std, self.device).to(dtype))

    def _test_image(self) -> Tensor:
        shape = (1, 2 * self.patch, 3 * self.patch, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def _find_layers(self) -> tuple[int, tuple[LayerInfo, ...]]:
        """Return the number of class and register tokens, and the layers in which all tokens attend to all."""
        pixels = self._test_image()
        outputs: list[Tensor] = []
        calls = find_attention(self._modules, lambda: outputs.append(self._tokens_of(pixels)))
        if not outputs[0].isfinite().all():
            raise WeightsError(
                f"model {self.name}: the weights from {self.weights.source} give NaN or infinity; "
                "get them again, or use other weights"
            )
        tokens = outputs[0].shape[1]
        whole = {name: call for name, call in calls.items() if call.tokens == (tokens, tokens) and not call.masked}
        prefix = tokens - pixels.shape[1] * pixels.shape[2] // self.patch**2
        if not whole or prefix < 0:
            raise no_attention(self.name, calls, ("focus_vits14", "dinov2_vits14"))
        layers = (
            LayerInfo(name, index, call.heads, call.dim, self.patch) for index, (name, call) in enumerate(whole.items())
        )
        return prefix, tuple(layers)
