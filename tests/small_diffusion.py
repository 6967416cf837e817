"""Small diffusion pipelines with random weights: the published configurations with fewer channels and layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WIDTH = 32  # of the text


def vae(latent_channels: int = 4, **options: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=latent_channels,
        **options,
    ).eval()


def unet(**options: Any) -> Any:
    """Stable Diffusion 1's UNet: all defaults of its configuration but the number of channels."""
    from diffusers import UNet2DConditionModel

    settings = {
        "block_out_channels": (16, 32, 64, 64),
        "norm_num_groups": 8,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 8,
        "sample_size": 64,
    }
    return UNet2DConditionModel(**{**settings, **options}).eval()


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer of single letters."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def text_encoder(projection: bool = False, layers: int = 2) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=200,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        bos_token_id=188,
        eos_token_id=189,
        pad_token_id=189,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def save_stable_diffusion(folder: Path, seed: int = 0, **options: Any) -> Path:
    """Save Stable Diffusion 1.4's pipeline in its real layout with its real scheduler."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(folder.parent / "words"),
        unet=unet(**options),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def outputs_of(modules: dict[str, torch.nn.Module]) -> tuple[dict[str, Any], list[Any]]:
    """Watch what modules take and return; the second value holds the hooks."""
    seen: dict[str, Any] = {}

    def hook(name: str) -> Any:
        return lambda _module, args, kwargs, output: seen.__setitem__(name, (args, kwargs, output))

    return seen, [m.register_forward_hook(hook(n), with_kwargs=True) for n, m in modules.items()]
