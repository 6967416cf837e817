"""Options of `spectral-graph image`, for the command line, the checks and the record of the results."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from spectral_graph.config import Device, LocalPath, Model
from spectral_graph.errors import ConfigError
from spectral_graph.options.schema import checked


class ImageConfig(BaseModel):
    """All options of a photo's analysis; all but `config.PLACE` change the result."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: Model = Field(
        "focus_vits14",
        description="focus_vits14 (offline), an alias such as sd14 (spectral-graph models lists them), a timm name, or "
        "a folder of diffusers or transformers",
    )
    weights: LocalPath | None = Field(None, description="local weights of the model: a file or a folder")
    layers: str = Field("all", description="attention layers: all, 5-11, 0,3,7, last:4, mid,up[:6], decoder")
    size: int = Field(
        448, description="the photo, in its own shape, is resized to about SIZE x SIZE pixels in area", ge=1, le=8192
    )
    resample: Literal["bilinear", "nearest"] = Field("bilinear", description="resampling of the photos")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type that the model computes in")
    timesteps: str = Field("0-500", description="diffusion models: timestep of the noise, drawn from [0, 500)")
    prompt: str = Field("", description="diffusion models: text prompt; none by default")
    passes: int = Field(20, description="diffusion models: draws of noise that the operator is the mean of", ge=1)
    batch: int = Field(4, description="photos in one forward pass, where neighbours in the list have one shape", ge=1)
    device: Device = Field(
        "cpu", description="where model and operator are computed: cpu, cuda or cuda:N; the solver runs on the CPU"
    )

    normalisation: Literal["symmetric", "random_walk"] = Field(
        "symmetric", description="each head's graph as a normalised cut, or as the symmetric part of D^-1 A (Eqn. 3)"
    )
    solver: Literal["exact", "adam"] = Field("exact", description="exact eigenvectors; adam: Eqn. 4 as in the paper")
    channels: int = Field(10, description="eigenvectors (C)", ge=2)
    steps: int = Field(2000, description="adam: steps", ge=1)
    learning_rate: float = Field(1e-3, description="adam: learning rate", gt=0)
    reuse: float = Field(
        0.9, description="adam with a diffusion model: chance that a step keeps the last draw's graphs", ge=0, le=1
    )
    seed: int = Field(0, description="of noise, K-means and adam's start", ge=0, lt=2**32)

    clusters: str = Field("2-10", description="regions (K): FIRST-LAST to choose from, or one number")
    choose: Literal["silhouette", "eigengap"] = Field("silhouette", description="how K is chosen")
    eigenvalue_power: float = Field(
        1.0,
        description="K-means sees each eigenvector times its eigenvalue to this power (diffusion map); 0: as they are",
        ge=0,
        le=64,
    )
    kmeans_init: int = Field(4, description="K-means restarts", ge=1)

    mask_iou: float = Field(0.7, description="two masks that overlap by more than this IoU are one", gt=0, le=1)
    mask_area: str = Field("0.01-0.9", description="smallest and largest mask, as shares of the photo")
    max_masks: int = Field(12, description="masks kept at most", ge=0)

    @field_validator("clusters")
    @classmethod
    def _clusters(cls, value: str) -> str:
        first, last = _numbers(value, r"\d{1,4}", "K as 2-10, or one number")
        if not 2 <= first <= last:
            raise ValueError("K must be 2 or more, and the first not above the last")
        return value

    @field_validator("mask_area")
    @classmethod
    def _mask_area(cls, value: str) -> str:
        first, last = _numbers(value, r"\d*\.?\d+", "two shares as 0.01-0.9")
        if not 0 <= first < last <= 1:
            raise ValueError("the shares must lie in 0 to 1, and the first below the last")
        return value

    @property
    def candidates(self) -> range:
        """The numbers of clusters to choose from."""
        first, last = _numbers(self.clusters, r"\d{1,4}", "")
        return range(int(first), int(last) + 1)

    @property
    def area(self) -> tuple[float, float]:
        """Smallest and largest share of the photo that a mask may have."""
        return _numbers(self.mask_area, r"\d*\.?\d+", "")


def _numbers(text: str, number: str, form: str) -> tuple[float, float]:
    match = re.fullmatch(rf"\s*({number})(?:\s*-\s*({number}))?\s*", text)
    if not match:
        raise ValueError(f"give {form}")
    return float(match[1]), float(match[2] or match[1])


def make_image_config(given: dict[str, Any]) -> ImageConfig:
    """Return the options: those given, then the defaults.

    Raises:
        ConfigError: a value is not allowed, or options contradict each other; the message names the option.
    """
    config = checked(ImageConfig, given)
    if config.choose == "eigengap" and config.candidates[0] >= config.channels:
        raise ConfigError(
            f"`choose=eigengap` with `channels={config.channels}` can choose K below {config.channels} only, but "
            f"`clusters={config.clusters}` begins at {config.candidates[0]}; raise `channels`"
        )
    return config
