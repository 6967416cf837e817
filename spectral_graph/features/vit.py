"""Attention features of any timm vision transformer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor, nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.attention import TENSORS, AttentionTap, check_attention, reproduce
from spectral_graph.features.layers import last_layers, select_layers
from spectral_graph.features.model import Extraction, LayerInfo, WeightsInfo
from spectral_graph.features.request import check_request, grid_of, layer_grids, normalised


class VisionTransformerFeatures:
    """A timm vision transformer as a `VisionModel`.

    On construction every attention layer is proven: on a small image, its output must follow from the tapped
    q, k and v. So a model whose attention does something else (a relative position bias, differential attention)
    is refused instead of read wrongly.

    Attributes:
        name: name on the command line.
        patch: side of a patch in pixels.
        layers: all attention layers.
        mean: channel means on the scale 0..1.
        std: channel standard deviations on the scale 0..1.
        weights: where the weights came from.
        note: what a reader of scores must know about this model; empty if nothing.
        width: columns of the final patch tokens.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        weights: WeightsInfo,
        note: str = "",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Wrap a model that timm created, and prove its hooks.

        Args:
            model: the timm module with its weights.
            name: name on the command line.
            mean: channel means on the scale 0..1.
            std: channel standard deviations on the scale 0..1.
            weights: where the weights came from.
            note: what a reader of scores must know.
            device: where the model shall run.
            dtype: type that it shall compute in; the proof is made in float32.

        Raises:
            ModelError: it is no vision transformer, or its attention cannot be read.
            WeightsError: its weights hold NaN or infinity.
        """
        self.name = name
        self.mean = mean
        self.std = std
        self.weights = weights
        self.note = note
        self._model = cast(Any, model)
        self._blocks: list[Any] = [*attention_modules(model, name)]
        self.patch = _patch_side(self._model.patch_embed, name)
        self.layers = tuple(
            LayerInfo(f"blocks.{index}", index, module.num_heads, module.proj.in_features, self.patch)
            for index, module in enumerate(self._blocks)
        )
        self.width = int(self._model.num_features)
        model.eval().requires_grad_(False).to(device=device, dtype=torch.float32)
        self._prove()
        model.to(dtype)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = next(self._model.parameters()).device
        return device

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text names, in the order of the model.

        Args:
            spec: see `spectral_graph.features.layers.select_layers`; "auto" names the last seven twelfths.

        Raises:
            ModelError: a part names no layer; the message lists what exists.
        """
        return select_layers(self.layers, spec, self.name, last_layers(self.layers))

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of patches of an image.

        Args:
            height: pixels.
            width: pixels.
            layers: makes no difference, all layers have one grid.

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
        skip = int(self._model.num_prefix_tokens)
        self._model.eval()
        with torch.inference_mode(), ExitStack() as stack:
            taps = {
                layer.name: stack.enter_context(AttentionTap(self._blocks[layer.index], layer.name, tensors, skip))
                for layer in layers
            }
            tokens = self._final_tokens(pixels)
        return Extraction(
            {name: tap.values for name, tap in taps.items()},
            tokens[:, skip:].to(torch.float32, copy=True),
            grid,
            layer_grids(layers, pixels.shape[1], pixels.shape[2]),
        )

    def _final_tokens(self, pixels: Tensor) -> Tensor:
        """Return all tokens (B, tokens, width) after the final norm."""
        dtype = next(self._model.parameters()).dtype
        tokens: Tensor = self._model.forward_features(normalised(pixels, self.mean, self.std, self.device).to(dtype))
        # Models that pool by the average keep their final norm behind the pooling, as fc_norm.
        if isinstance(getattr(self._model, "norm", None), nn.Identity) and isinstance(
            getattr(self._model, "fc_norm", None), nn.Module
        ):
            tokens = self._model.fc_norm(tokens)
        return tokens

    def _prove(self) -> None:
        """Compare each attention layer's output with the one that follows from its tapped q, k, v."""
        height, width = 2 * self.patch, 3 * self.patch
        pixels = torch.randint(
            0, 256, (1, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        )
        outputs: dict[str, Tensor] = {}
        with torch.inference_mode(), ExitStack() as stack:
            taps = []
            for layer, module in zip(self.layers, self._blocks, strict=True):
                taps.append(stack.enter_context(AttentionTap(module, layer.name)))
                handle = module.register_forward_hook(
                    lambda _module, _inputs, output, name=layer.name: outputs.__setitem__(name, output)
                )
                stack.callback(handle.remove)
            tokens = self._final_tokens(pixels)
            if not tokens.isfinite().all():
                raise WeightsError(
                    f"model {self.name}: the weights from {self.weights.source} give NaN or infinity; "
                    "get the file again, or use other weights"
                )
            for layer, module, tap in zip(self.layers, self._blocks, taps, strict=True):
                if tap.runs > 1:
                    raise ModelError(
                        f"model {self.name}, layer {layer.name}: it attends {tap.runs} times in one forward pass; its "
                        "q, k and v are no single set, so it cannot be a layer"
                    )
                expected = outputs.get(layer.name)
                found = None if expected is None else reproduce(module, **tap.values, gate=tap.gate)
                if expected is None or found is None or not _close(found, expected):
                    raise ModelError(
                        f"model {self.name}, layer {layer.name}: the output of its attention "
                        f"({type(module).__name__}) does not follow from softmax(q k^T) v alone, so its q, k and v "
                        "would be read wrongly; choose a model with plain attention, such as a DINO, DINOv2, DINOv3, "
                        "DeiT, MAE, CLIP, SigLIP or EVA-02 ViT"
                    )


def _close(found: Tensor, expected: Tensor) -> bool:
    """Tell whether two outputs agree up to rounding."""
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= 2e-3 * expected.abs().max())


def attention_modules(model: nn.Module, name: str) -> list[nn.Module]:
    """Return the attention module of each block of a timm vision transformer, first to last.

    Args:
        model: a module that timm created with ``dynamic_img_size=True``.
        name: its name, for messages.

    Raises:
        ModelError: it is no plain vision transformer.
    """
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    # Other classes may order their tokens otherwise than row by row (Qwen3's encoder does), so they are refused.
    if not isinstance(model, VisionTransformer | Eva) or not model.dynamic_img_size:
        raise not_a_vit(name, f"it is a {type(model).__name__}")
    modules = [getattr(block, "attn", None) for block in model.blocks]
    for index, module in enumerate(modules):
        if module is None:
            raise not_a_vit(name, f"blocks.{index}, a {type(model.blocks[index]).__name__}, has no attention module")
        check_attention(module, f"blocks.{index}")
    return [module for module in modules if module is not None]


def not_a_vit(name: str, reason: str) -> ModelError:
    """Return the error for a model whose attention layers cannot be read."""
    return ModelError(
        f"model {name} is no plain vision transformer of timm ({reason}); choose one, such as focus_vits14, "
        "vit_small_patch14_dinov2.lvd142m or vit_base_patch16_224.dino"
    )


def _patch_side(patch_embed: Any, name: str) -> int:
    """Return the side in pixels of the square that becomes one token."""
    ratio = patch_embed.feat_ratio() if hasattr(patch_embed, "feat_ratio") else patch_embed.patch_size
    sides = (ratio, ratio) if isinstance(ratio, int) else tuple(ratio)
    if sides[0] != sides[1]:
        raise ModelError(f"model {name}: patches of {sides[0]} x {sides[1]} pixels; square patches are needed")
    return int(sides[0])
