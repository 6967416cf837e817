"""Attention features of a latent diffusion model: encode, add noise, one pass of the denoiser."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_graph.errors import ConfigError, ModelError
from spectral_graph.features.attention import TENSORS, AttentionTap, find_attention, no_attention
from spectral_graph.features.conditioning import Conditioning
from spectral_graph.features.layers import select_layers
from spectral_graph.features.model import (
    Extraction,
    LayerInfo,
    WeightsInfo,
    check_request,
    grid_of,
    layer_grids,
    normalised,
)
from spectral_graph.features.noise import ForwardProcess, Noise

_HALF = (0.5, 0.5, 0.5)


class DiffusionFeatures:
    """A latent diffusion model as a `VisionModel`.

    Its layers are the modules in which all positions of the image attend to all; cross-attention to the prompt is left
    out, and of a stream that the prompt shares (MMDiT) only the positions of the image are taken. They are found by a
    pass on a small image. Attribute `noise` has the timesteps and the seed.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        autoencoder: nn.Module,
        scheduler: Any,
        conditioning: Conditioning,
        *,
        name: str,
        weights: WeightsInfo,
        noise: Noise,
    ) -> None:
        """Wrap the parts of a pipeline and find the layers.

        Args:
            denoiser: UNet or transformer.
            autoencoder: the VAE.
            scheduler: of the pipeline; its noise schedule is used.
            conditioning: the encoded prompt.
            name: name on the command line.
            weights: where the weights came from.
            noise: timesteps and seed.

        Raises:
            ModelError: no layer can be read, or the model takes more than an image's latents.
            ConfigError: a timestep that the model does not have.
        """
        self.name, self.weights, self.mean, self.std = name, weights, _HALF, _HALF
        self._denoiser, self._vae = cast(Any, denoiser), cast(Any, autoencoder)
        self._conditioning = conditioning
        self._process = ForwardProcess.of(scheduler)
        self.noise = self._checked(noise)
        self._vae.enable_slicing()  # image by image, so that memory does not grow with the batch
        blocks = getattr(self._vae.config, "block_out_channels", (0,) * 4)
        self._latent_stride = 2 ** (len(blocks) - 1)
        if self._denoiser.config.in_channels != self._vae.config.latent_channels:
            raise ModelError(
                f"model {name}: its denoiser takes {self._denoiser.config.in_channels} channels, but the latents of an "
                f"image have {self._vae.config.latent_channels}; inpainting and upscaling models cannot be used"
            )
        self._is_unet = hasattr(denoiser, "down_blocks")
        levels = len(self._denoiser.down_blocks) if self._is_unet else 1
        self.patch = self._latent_stride * (2 ** (levels - 1) if self._is_unet else self._denoiser.config.patch_size)
        final = f"up_blocks.{min(1, levels - 1)}" if self._is_unet else "norm_out"
        self.note = f"final features of {name} are the output of {final} in the same noisy pass, on the run's grid"
        self._modules = {part: module for part, module in denoiser.named_modules() if part}
        self._final: nn.Module = self._modules[final]
        self.layers, self.width = self._find_layers()

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = next(self._denoiser.parameters()).device
        return device

    def with_noise(self, noise: Noise) -> DiffusionFeatures:
        """Return the same model, sharing its weights, with other timesteps or another seed."""
        other = copy.copy(self)
        other.noise = self._checked(noise)
        return other

    def select_layers(self, spec: str) -> tuple[LayerInfo, ...]:
        """Return the layers that a text names (see `layers.select_layers`).

        "auto" names those of the paper's section 4.2 for a UNet, the middle block's and the first six of the decoder,
        and all of a transformer.
        """
        auto = [layer for layer in self.layers if layer.part == "mid"]
        auto += [layer for layer in self.layers if layer.part == "up"][:6]
        return select_layers(self.layers, spec, self.name, auto or self.layers)

    def grid(self, height: int, width: int, layers: Sequence[LayerInfo] = ()) -> tuple[int, int]:
        """Return the rows and columns of the finest of these layers (of all by default)."""
        return grid_of(self.name, self.patch, layers or self.layers, height, width)

    def extract(
        self,
        pixels: Tensor,
        layers: Sequence[LayerInfo] = (),
        tensors: Collection[str] = TENSORS,
        ids: Sequence[str] = (),
    ) -> Extraction:
        """Encode the images, add noise and run the denoiser once, as `VisionModel.extract` says.

        Without `ids`, timesteps and noise are drawn from the names "0", "1", ...
        """
        check_request(self, pixels, layers, tensors, ids)
        height, width = pixels.shape[1:3]
        grid = self.grid(height, width, layers)
        nodes = max((self._nodes(layer, height, width) for layer in layers), default=0)
        # Image positions come first where a stream holds text too; each layer is cut to its own number of them.
        tap = AttentionTap({layer.name: self._modules[layer.name] for layer in layers}, tensors, slice(nodes))
        with torch.inference_mode():
            noisy, timesteps = self._noisy(pixels, ids or [str(index) for index in range(len(pixels))])
            with tap:
                final = self._denoise(noisy, timesteps, height, width, [self._modules[layer.name] for layer in layers])
        values = {}
        for layer in layers:
            call, own = tap.only_call(layer.name, self.name), self._nodes(layer, height, width)
            values[layer.name] = {key: value[:, :own] for key, value in call.values.items()}
        return Extraction(values, _on_grid(final, grid), grid, layer_grids(layers, height, width))

    def _nodes(self, layer: LayerInfo, height: int, width: int) -> int:
        return (height // layer.stride) * (width // layer.stride)

    def _checked(self, noise: Noise) -> Noise:
        if noise.last > self._process.steps:
            raise ConfigError(
                f"timesteps {noise.first}-{noise.last}: model {self.name} has 0-{self._process.steps}; "
                "lower `timesteps`"
            )
        return noise

    def _noisy(self, pixels: Tensor, ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the noisy latents (B, C, h, w) and the timesteps (B,) on the device."""
        config = self._vae.config
        latents = self._vae.encode(normalised(pixels, self.mean, self.std, self.device)).latent_dist.mode()
        latents = (latents - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor
        timesteps, noise = self.noise.draw(ids, tuple(latents.shape[1:]))
        return self._process(latents, noise.to(self.device), timesteps.to(self.device)), timesteps.to(self.device)

    def _denoise(
        self, noisy: Tensor, timesteps: Tensor, height: int, width: int, modules: Sequence[nn.Module]
    ) -> Tensor:
        """Run the denoiser until `modules` and the final one have run; return its output (B, width, h, w) float32."""
        outputs: list[Tensor] = []
        waiting = {self._final, *modules}

        def finished(module: nn.Module, _args: Any, output: Any) -> None:
            if module is self._final:
                outputs.append(output)
            waiting.discard(module)
            if not waiting:
                raise _Enough

        arguments = self._conditioning.arguments(len(noisy), height, width)
        dtype = next(self._denoiser.parameters()).dtype
        with ExitStack() as stack, suppress(_Enough):
            for module in tuple(waiting):
                stack.callback(module.register_forward_hook(finished).remove)
            self._denoiser(noisy.to(dtype), timestep=timesteps, **arguments)
        final = outputs[0]
        if final.ndim == 3:
            side = self.patch
            final = final.transpose(1, 2).unflatten(2, (height // side, width // side))
        return final.to(torch.float32)

    def _find_layers(self) -> tuple[tuple[LayerInfo, ...], int]:
        """Return the layers and the width of the final features."""
        text = self._conditioning.text_tokens
        # A width at which no layer has as many nodes as the prompt has tokens, so that cross-attention shows.
        rows, columns = next((1, n) for n in (2, 3, 5, 7) if text not in {n * 4**k for k in range(12)})
        height, width = rows * self.patch, columns * self.patch
        stride = self._latent_stride
        channels = self._vae.config.latent_channels
        generator = torch.Generator().manual_seed(0)
        latents = torch.randn((1, channels, height // stride, width // stride), generator=generator).to(self.device)
        finals: list[Tensor] = []
        steps = torch.zeros(1, dtype=torch.int64, device=self.device)

        def run() -> None:
            finals.append(self._denoise(latents, steps, height, width, [self._denoiser]))

        calls = find_attention(self._modules, run)
        layers: list[LayerInfo] = []
        for name, call in calls.items():
            queries, keys = call.tokens
            # A joint stream holds the image's positions and then the prompt's.
            nodes = queries - text if getattr(self._modules[name], "add_k_proj", None) is not None else queries
            side = _side(height * width, nodes)
            if queries != keys or call.masked or not side or height % side or width % side:
                continue
            part = name.partition("_")[0] if self._is_unet else ""
            layers.append(LayerInfo(name, len(layers), call.heads, call.dim, side, part))
        if not layers:
            raise no_attention(self.name, calls, ("sd14", "sd21", "sdxl"))
        return tuple(layers), finals[0].shape[1]


class _Enough(Exception):
    """Ends a pass of which everything needed has been computed."""


def _side(pixels: int, nodes: int) -> int:
    """Return the side of `nodes` equal squares with whole sides that cover an area, or 0 if there are none."""
    if nodes < 1 or pixels % nodes:
        return 0
    side = math.isqrt(pixels // nodes)
    return side if side * side * nodes == pixels else 0


def _on_grid(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return (B, h * w, width) of features (B, width, h', w'), resampled bilinearly if their grid is another."""
    if tuple(features.shape[2:]) != grid:
        features = functional.interpolate(features, size=grid, mode="bilinear", align_corners=False)
    return features.flatten(2).transpose(1, 2).contiguous().clone()
