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


def save_dit(folder: Path, seed: int = 0) -> Path:
    """Save a class-conditional DiT's pipeline."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(seed)
    transformer = DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, num_layers=3, sample_size=32, norm_num_groups=4
    ).eval()
    DiTPipeline(transformer=transformer, vae=vae(), scheduler=DDIMScheduler()).save_pretrained(folder)
    return folder


def save_stable_diffusion_3(folder: Path, seed: int = 0) -> Path:
    """Save Stable Diffusion 3's pipeline, whose third text encoder is optional, without it."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=32,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=64,
    ).eval()
    words = tokenizer(folder.parent / "words3")
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16, shift_factor=0.06),
        text_encoder=text_encoder(projection=True, layers=3),
        tokenizer=words,
        text_encoder_2=text_encoder(projection=True, layers=3),
        tokenizer_2=words,
        text_encoder_3=None,
        tokenizer_3=None,
    ).save_pretrained(folder)
    return folder


def outputs_of(modules: dict[str, torch.nn.Module]) -> tuple[dict[str, Any], list[Any]]:
    """Watch what modules take and return; the second value holds the hooks."""
    seen: dict[str, Any] = {}

    def hook(name: str) -> Any:
        return lambda _module, args, kwargs, output: seen.__setitem__(name, (args, kwargs, output))

    return seen, [m.register_forward_hook(hook(n), with_kwargs=True) for n, m in modules.items()]
