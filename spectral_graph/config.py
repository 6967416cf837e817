"""The options of a run, the stage that each belongs to, and the presets.

This is the only place where options are defined: the command line, the checks, `run.json` and the report read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from spectral_graph.errors import ConfigError

STAGES = ("extract", "graph", "solve", "orthogonalise", "segment", "evaluate", "report")
KINDS = ("vv", "qk", "kk")

Kind = Literal["vv", "qk", "kk"]


def _list(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def option(stage: str, default: Any, text: str, **limits: Any) -> Any:
    """Declare an option: `stage` is the first stage whose result it changes."""
    return Field(default, description=text, json_schema_extra={"stage": stage}, **limits)


class RunConfig(BaseModel):
    """All options that change the result of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Literal["coco", "cocostuff", "cityscapes", "voc", "camvid", "folder"] = option(
        "extract", "coco", "data set"
    )
    root: Path | None = option(
        "extract", None, "folder of the data set; without it SPECTRAL_GRAPH_DATA, and for coco the built-in sample"
    )
    split: str | None = option("extract", None, "split, e.g. train2017 or val")
    limit: int | None = option("extract", None, "use the first LIMIT images only", ge=1)
    preprocess: Literal["crop", "resize"] = option(
        "extract", "crop", "crop: minor edge to SIZE and centre crop (PiCIE, STEGO); resize: to SIZE"
    )
    size: str = option("extract", "320", "pixels: 320, or HEIGHTxWIDTH with --preprocess resize")
    resample: Literal["bilinear", "nearest"] = option("extract", "bilinear", "resampling of the photos")
    model: str = option("extract", "focus_vits14", "focus_vits14 (offline) or any timm vision transformer")
    weights: Path | None = option("extract", None, "local weights of the model (safetensors, pth)")
    layers: str = option("extract", "5-11", "attention layers: 5-11, 0,3,7, last:4, all")
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(_list)] = option(
        "extract", ("vv", "qk"), "affinities: vv, qk, kk", min_length=1
    )
    bad_images: Literal["skip", "refuse"] = option("extract", "skip", "what to do with an image that cannot be read")
    image_batch: int = option("extract", 4, "images in one forward pass", ge=1)

    batch: int = option("graph", 40, "images in one graph block (mini-batch)", ge=1)
    rounds: int = option("graph", 2, "how often each image is in a mini-batch, each time with others", ge=1)
    c_intra: int = option("graph", 20, "neighbours of a node inside its image", ge=0)
    c_inter: int = option("graph", 20, "neighbours of a node in the other images of the mini-batch", ge=0)
    threshold: float = option("graph", 0.1, "affinities below are dropped", ge=0, lt=1)
    sharpen: float = option(
        "graph", 8.0, "exponent of the affinities; weak edges to unlike images lose their weight", gt=0, le=64
    )
    centre: bool = option("graph", True, "subtract the data set's mean q, k, v before normalising")
    seed: int = option("graph", 0, "seed of mini-batches and solver", ge=0)

    solver: Literal["chebyshev", "adam"] = option(
        "solve", "chebyshev", "chebyshev: exact eigenvectors; adam: Eqn. 4 of the paper"
    )
    channels: int = option("solve", 50, "eigenvectors (C)", ge=1)
    normalisation: Literal["symmetric", "random_walk"] = option(
        "solve", "symmetric", "D^-1/2 A D^-1/2, or the symmetric part of D^-1 A (Eqn. 3 as written)"
    )
    tol: float = option("solve", 1e-3, "chebyshev: largest residual of an eigenvector", ge=1e-6)
    degree: int = option("solve", 10, "chebyshev: degree of the filter", ge=2, le=60)
    max_rounds: int = option("solve", 30, "chebyshev: rounds at most", ge=1)
    steps: int = option("solve", 2100, "adam: steps", ge=1)
    inner_steps: int = option("solve", 5, "adam: steps on a mini-batch before the next", ge=1)
    learning_rate: float = option("solve", 1e-2, "adam: learning rate", gt=0)

    order: Literal["auto", "gram", "ritz"] = option(
        "orthogonalise",
        "auto",
        "columns by eigenvalue of X^T X (Eqn. 8; auto for adam) or by Rayleigh quotient (auto for chebyshev)",
    )

    clusters: int | None = option("segment", None, "regions (K); the number of classes by default", ge=2)
    eigenvectors: int = option("segment", 50, "leading eigenvectors that are clustered", ge=1)
    row_normalise: bool = option("segment", True, "unit length for the row of each node before K-means")
    diffusion: float = option(
        "segment",
        0.5,
        "weight of the last clustered eigenvector against the first: columns times eigenvalue^t, a diffusion map; "
        "1: all alike",
        gt=0,
        le=1,
    )
    kmeans_seeds: Annotated[tuple[int, ...], BeforeValidator(_list)] = option(
        "segment", (0, 1, 2), "K-means seeds; scores are their mean", min_length=1
    )
    kmeans_init: int = option("segment", 4, "K-means restarts a seed", ge=1)
    kmeans_rows: int = option(
        "segment", 60_000, "rows at most that K-means is fitted on, sampled evenly over the images", ge=100
    )

    labels: Literal["coarse", "fine"] = option("segment", "coarse", "classes of coco and cocostuff: 27 or all")

    gallery: int = option("report", 8, "images shown in the report", ge=0)

    @field_validator("kinds", "kmeans_seeds")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"names something twice: {','.join(map(str, value))}")
        return value


PRESETS: dict[str, dict[str, Any]] = {
    "best": {},
    "paper": {
        "c_intra": 10,
        "c_inter": 10,
        "sharpen": 1.0,
        "centre": False,
        "solver": "adam",
        "normalisation": "random_walk",
        "diffusion": 1.0,
        "row_normalise": False,
    },
}
"""`best` is what measures best here (docs/results.md); `paper` follows the paper's text (sections 3 and 4.2)."""


def make_config(given: dict[str, Any], preset: str = "best") -> RunConfig:
    """Return the options of a run: those given, then the preset's, then the defaults.

    Raises:
        ConfigError: a value is not allowed, or options contradict each other; the message names the option.
    """
    if preset not in PRESETS:
        raise ConfigError(f"--preset {preset}: there is no such preset; choose one of {', '.join(PRESETS)}")
    try:
        config = RunConfig.model_validate({**PRESETS[preset], **given})
    except ValidationError as error:
        lines = []
        for issue in error.errors():
            name = str(issue["loc"][0]) if issue["loc"] else "?"
            lines.append(f"{flag(name)} {issue['input']}: {issue['msg'].removeprefix('Value error, ')}")
        raise ConfigError("; ".join(lines)) from None
    if config.c_intra + config.c_inter == 0:
        raise ConfigError("--c-intra 0 and --c-inter 0: a graph without edges; set at least one of them above 0")
    return config


def flag(name: str) -> str:
    """Return the command line form of an option's name."""
    return "--" + name.replace("_", "-")


def stage_of(name: str) -> str:
    """Return the first stage whose result the option changes."""
    extra = RunConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["stage"])
