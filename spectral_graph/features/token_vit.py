"""Attention features of any vision transformer of the `transformers` library."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.attending import attending_modules, no_attention, one_call
from spectral_graph.features.attention import TENSORS
from spectral_graph.features.kernel_tap import KernelTap
from spectral_graph.features.layers import last_layers, select_layers
from spectral_graph.features.model import Extraction, LayerInfo, WeightsInfo
from spectral_graph.features.request import check_request, grid_of, layer_grids, normalised


class TokenTransformerFeatures:
    """A vision transformer of the transformers library as a `VisionModel`.

    Its layers are the modules that call the attention kernel with all tokens of the image, found by a forward pass on
    a small one. Positions are interpolated by the library's own code.

    Attributes:
        name: name on the command line.
        patch: side of a patch in pixels.
        layers: all self-attention layers.
        mean: channel means on the scale 0..1.
        std: channel standard deviations on the scale 0..1.
        weights: where the weights came from.
        note: empty.
        width: columns of the final patch tokens.
        prefix: class and register tokens before the patches.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: WeightsInfo,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap a model and find its layers.

        Args:
            model: the module with its weights.
            name: name on the command line.
            mean: channel means on the scale 0..1.
            std: channel standard deviations on the scale 0..1.
            weights: where the weights came from.
            device: where the model shall run.
            dtype: type that it shall compute in.

        Raises:
            ModelError: no attention layer of it can be read.
            WeightsError: its weights give NaN or infinity.
        """
        self.name, self.mean, self.std, self.weights, self.note = name, mean, std, weights, ""
        self._model = cast(Any, model)
        config = self._model.config
        sides = config.patch_size if isinstance(config.patch_size, (tuple, list)) else (config.patch_size,) * 2
        if sides[0] != sides[1]:
            raise ModelError(f"model {name}: patches of {sides[0]} x {sides[1]} pixels; square patches are needed")
        self.patch, self.width = int(sides[0]), int(config.hidden_size)
        if hasattr(config, "mask_ratio"):
            config.mask_ratio = 0.0
        model.eval().requires_grad_(False).to(device=device, dtype=dtype)
        self._takes = set(inspect.signature(model.forward).parameters)
        self.prefix, self.layers = self._find_layers()
        self._modules = dict(model.named_modules())

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = next(self._model.parameters()).device
        return device

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text names; "auto" names the last seven twelfths.

        Raises:
            ModelError: a part names no layer; the message lists what exists.
        """
        return select_layers(self.layers, spec, self.name, last_layers(self.layers))

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of patches of an image of that size in pixels.

        Raises:
            ModelError: the sides are no multiples of the patch.
        """
        return grid_of(self.name, self.patch, layers, height, width)

    def extract(
        self,
        pixels: Tensor,
        layers: Sequence[LayerInfo] = (),
        tensors: Collection[str] = TENSORS,
        ids: Sequence[str] = (),
    ) -> Extraction:
        """Run the model and copy q, k, v of some layers.

        Args:
            pixels: (B, H, W, 3) uint8, red, green, blue; H and W multiples of `patch`.
            layers: layers of this model.
            tensors: subset of {"q", "k", "v"}.
            ids: names of the images; they make no difference.

        Returns:
            The features, on the model's device.

        Raises:
            ModelError: the batch has another form, or a layer or tensor does not exist.
        """
        check_request(self, pixels, layers, tensors, ids)
        grid = self.grid(pixels.shape[1], pixels.shape[2])
        tap = KernelTap({layer.name: self._modules[layer.name] for layer in layers}, tensors, slice(self.prefix, None))
        with torch.inference_mode(), tap:
            tokens = self._final_tokens(pixels)
        return Extraction(
            {layer.name: one_call(tap, layer, self.name).values for layer in layers},
            tokens[:, self.prefix :].to(torch.float32, copy=True),
            grid,
            layer_grids(layers, pixels.shape[1], pixels.shape[2]),
        )

    def _final_tokens(self, pixels: Tensor) -> Tensor:
        """Return all tokens (B, tokens, width) after the final norm."""
        self._model.eval()
        images = normalised(pixels, self.mean, self.std, self.device)
        options: dict[str, Any] = {}
        if "interpolate_pos_encoding" in self._takes:
            options["interpolate_pos_encoding"] = True
        if "noise" in self._takes:
            # MAE shuffles the patches by sorting this noise: ascending noise keeps their order.
            patches = (pixels.shape[1] // self.patch) * (pixels.shape[2] // self.patch)
            options["noise"] = torch.arange(patches, device=self.device).expand(len(pixels), -1) / patches
        tokens: Tensor = self._model(images.to(self._model.dtype), **options).last_hidden_state
        # CLIP applies its final norm to the class token only.
        vision = getattr(self._model, "vision_model", self._model)
        if hasattr(vision, "pre_layrnorm"):
            tokens = vision.post_layernorm(tokens)
        return tokens

    def _find_layers(self) -> tuple[int, tuple[LayerInfo, ...]]:
        """Return the number of class and register tokens, and the layers in which all tokens attend to all."""
        rows, columns = 2, 3
        pixels = torch.randint(
            0,
            256,
            (1, rows * self.patch, columns * self.patch, 3),
            dtype=torch.uint8,
            generator=torch.Generator().manual_seed(0),
        )
        outputs: list[Tensor] = []
        calls = attending_modules(self._model, lambda: outputs.append(self._final_tokens(pixels)))
        tokens = outputs[0].shape[1]
        if not outputs[0].isfinite().all():
            raise WeightsError(
                f"model {self.name}: the weights from {self.weights.source} give NaN or infinity; get them again"
            )
        whole = {name: call for name, call in calls.items() if call.tokens == (tokens, tokens) and not call.masked}
        prefix = tokens - rows * columns
        if not whole or prefix < 0:
            kinds = f"{len(calls)} modules attend, none of them from all tokens to all without a mask"
            raise no_attention(self.name, kinds, ("focus_vits14", "dinov2_vits14"))
        layers = (
            LayerInfo(name, index, call.heads, call.dim, self.patch) for index, (name, call) in enumerate(whole.items())
        )
        return prefix, tuple(layers)
