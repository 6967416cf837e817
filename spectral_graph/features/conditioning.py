"""The arguments of a denoiser besides the noisy image: encoded prompt, sizes, classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spectral_graph.errors import ModelError

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Conditioning:
    """The prompt, encoded once.

    Attributes:
        text_tokens: number of text tokens; 0 without text.
        arguments: (number of images, height, width in pixels) -> keyword arguments of the denoiser.
    """

    text_tokens: int
    arguments: Callable[[int, int, int], Arguments]


def encode(pipeline: Any, denoiser: Any, prompt: str, name: str) -> Conditioning:
    """Encode the prompt with the pipeline's own text encoders.

    Args:
        pipeline: a diffusers pipeline.
        denoiser: its UNet or transformer.
        prompt: text; empty for none.
        name: name of the model, for messages.

    Raises:
        ModelError: the class of the denoiser is not supported, or there is a prompt for a model without text.
    """
    kind = type(denoiser).__name__
    readers = {
        "UNet2DConditionModel": _unet,
        "PixArtTransformer2DModel": _pixart,
        "SD3Transformer2DModel": _sd3,
        "DiTTransformer2DModel": _dit,
    }
    if kind not in readers:
        raise ModelError(
            f"model {name}: its denoiser is a {kind}; these can be read: {', '.join(readers)}. "
            "For another one use spectral_graph.features.hook_attention"
        )
    with torch.inference_mode():
        return readers[kind](pipeline, denoiser, prompt, name)


def _repeated(value: Tensor, count: int) -> Tensor:
    return value.expand(count, *value.shape[1:])


def _unet(pipeline: Any, unet: Any, prompt: str, name: str) -> Conditioning:
    config, device = unet.config, unet.device
    kind = config.addition_embed_type
    if kind not in (None, "text_time") or config.class_embed_type is not None or config.encoder_hid_dim_type:
        raise ModelError(
            f"model {name}: its UNet needs more than a prompt (addition_embed_type {kind!r}, class_embed_type "
            f"{config.class_embed_type!r}, encoder_hid_dim_type {config.encoder_hid_dim_type!r}); use one of Stable "
            "Diffusion 1, 2 or XL"
        )
    if kind is None:
        text = pipeline.encode_prompt(prompt, device, 1, False)[0]
        return Conditioning(text.shape[1], lambda count, *_: {"encoder_hidden_states": _repeated(text, count)})
    text, _, pooled, _ = pipeline.encode_prompt(prompt, device=device, do_classifier_free_guidance=False)

    def arguments(count: int, height: int, width: int) -> Arguments:
        # Original size, corner of the crop, target size: those of an image that is not cropped or resized.
        sizes = torch.tensor([height, width, 0, 0, height, width], device=device, dtype=text.dtype)
        added = {"text_embeds": _repeated(pooled, count), "time_ids": sizes.expand(count, -1)}
        return {"encoder_hidden_states": _repeated(text, count), "added_cond_kwargs": added}

    return Conditioning(text.shape[1], arguments)


def _pixart(pipeline: Any, transformer: Any, prompt: str, name: str) -> Conditioning:
    device = transformer.device
    text, mask, *_ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, device=device)

    def arguments(count: int, height: int, width: int) -> Arguments:
        added: Arguments = {"resolution": None, "aspect_ratio": None}
        if transformer.use_additional_conditions:
            size = torch.tensor([[height, width]], device=device, dtype=text.dtype)
            added = {
                "resolution": size.expand(count, -1),
                "aspect_ratio": (size[:, :1] / size[:, 1:]).expand(count, -1),
            }
        return {
            "encoder_hidden_states": _repeated(text, count),
            "encoder_attention_mask": _repeated(mask, count),
            "added_cond_kwargs": added,
        }

    return Conditioning(text.shape[1], arguments)


def _sd3(pipeline: Any, transformer: Any, prompt: str, name: str) -> Conditioning:
    text, _, pooled, _ = pipeline.encode_prompt(
        prompt, prompt, prompt, device=transformer.device, do_classifier_free_guidance=False
    )
    return Conditioning(
        text.shape[1],
        lambda count, *_: {
            "encoder_hidden_states": _repeated(text, count),
            "pooled_projections": _repeated(pooled, count),
        },
    )


def _dit(pipeline: Any, transformer: Any, prompt: str, name: str) -> Conditioning:
    if prompt:
        raise ModelError(f"model {name}: it is conditioned on classes, not text, so `prompt={prompt!r}` cannot be used")
    # The class after the last means "no class" in classifier-free guidance.
    none = torch.tensor([transformer.config.num_embeds_ada_norm], device=transformer.device)
    return Conditioning(0, lambda count, *_: {"class_labels": none.expand(count)})
