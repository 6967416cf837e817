"""The options of a run, the stage that each belongs to, and the presets.

This is the only place where options are defined: the command line, the checks, `run.json` and the report read it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator

from spectral_graph.errors import ConfigError
from spectral_graph.io.readable import stored_path
from spectral_graph.io.url import is_url, local_path
from spectral_graph.options.ignored_values import parse_ignore
from spectral_graph.options.schema import checked

STAGES = ("extract", "graph", "solve", "orthogonalise", "segment", "evaluate", "report")
KINDS = ("vv", "qk", "kk")

PLACE = frozenset({"device", "root"})
"""Options that say only where something is computed or stored: a run may be resumed with other values."""

Kind = Literal["vv", "qk", "kk"]


def _list(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _device(value: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", value):
        raise ValueError("there is no such device; give cpu, cuda or cuda:N")
    return value


def _label_values(value: str) -> str:
    values = parse_ignore(value)
    return "auto" if values is None else ",".join(map(str, values)) or "none"


def _local(value: Any) -> Any:
    if isinstance(value, str) and is_url(value):
        raise ValueError("this is a URL, and only runs are kept behind URLs; copy it to a local disk and name that")
    return local_path(value) if isinstance(value, str) else value


def _model(value: str) -> str:
    return str(local_path(value)) if value.startswith("~") else value


Device = Annotated[str, AfterValidator(_device)]
LocalPath = Annotated[Path, BeforeValidator(_local), PlainSerializer(stored_path, str, when_used="json")]
"""A local file or folder; ~ is expanded, and names that are not UTF-8 survive JSON."""
Model = Annotated[str, AfterValidator(_model)]
"""A model's name, or its folder."""


def option(stage: str, default: Any, text: str, **limits: Any) -> Any:
    """Declare an option: `stage` is the first stage whose result it changes."""
    return Field(default, description=text, json_schema_extra={"stage": stage}, **limits)


class RunConfig(BaseModel):
    """All options of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: Literal["coco", "cocostuff", "cityscapes", "voc", "camvid", "folder"] = option(
        "extract", "coco", "data set"
    )
    root: LocalPath | None = option(
        "extract", None, "folder of the data set; without it SPECTRAL_GRAPH_DATA, and for coco the built-in sample"
    )
    split: str | None = option("extract", None, "split, e.g. train2017 or val")
    limit: int | None = option("extract", None, "use the first LIMIT images only", ge=1)
    preprocess: Literal["crop", "resize"] = option(
        "extract", "crop", "crop: minor edge to SIZE and centre crop (PiCIE, STEGO); resize: to SIZE"
    )
    size: str = option("extract", "320", "pixels: 320, or HEIGHTxWIDTH with --preprocess resize")
    resample: Literal["bilinear", "nearest"] = option("extract", "bilinear", "resampling of the photos")
    model: Model = option(
        "extract",
        "focus_vits14",
        "focus_vits14 (offline), an alias such as sd14 (spectral-graph models lists them), a timm name, or a folder of "
        "diffusers or transformers",
    )
    weights: LocalPath | None = option(
        "extract", None, "local weights of the model: a file (safetensors, pth), or a folder of diffusers, transformers"
    )
    layers: str = option(
        "extract",
        "auto",
        "attention layers: 5-11, 0,3,7, last:4, all, mid,up[:6], decoder; auto: the last seven of a ViT's twelve, the "
        "middle block's and the first six of a UNet's decoder",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = option("extract", "float32", "type that the model computes in")
    timesteps: str = option(
        "extract", "20-300", "diffusion models: timestep of the noise, drawn for each image from [20, 300); or one: 250"
    )
    noise_seed: int = option("extract", 0, "diffusion models: seed of timesteps and noise", ge=0)
    prompt: str = option("extract", "", "diffusion models: text that the model is told; none by default")
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(_list)] = option(
        "extract", ("vv", "qk"), "affinities: vv, qk, kk", min_length=1
    )
    bad_images: Literal["skip", "refuse"] = option("extract", "skip", "what to do with an image that cannot be read")
    image_batch: Literal["auto"] | Annotated[int, Field(ge=1)] = option(
        "extract", "auto", "images in one forward pass; auto: as many as take 1 GiB of activations, 32 at most"
    )
    device: Device = option(
        "extract",
        "cpu",
        "where the model runs and the solver chebyshev works: cpu, cuda or cuda:N; the rest of all stages is done on "
        "the CPU; a run may be resumed with another",
    )

    scope: Literal["batch", "dataset"] = option(
        "graph",
        "dataset",
        "where a node's inter-image neighbours come from: dataset: all images; batch: its mini-batch",
    )
    batch: int = option("graph", 40, "scope batch: images in one graph block (mini-batch)", ge=1)
    rounds: int = option(
        "graph", 2, "scope batch: how often each image is in a mini-batch, each time with others", ge=1
    )
    neighbours: Literal["exact", "cells", "faiss-ivf", "faiss-hnsw", "faiss-gpu"] = option(
        "graph",
        "cells",
        "scope dataset: how neighbours are searched; all but exact are approximate (scope batch is always exact)",
    )
    recall: float = option(
        "graph", 0.95, "scope dataset: share of the true neighbours that an approximate search must find", gt=0, lt=1
    )
    block: int = option(
        "graph", 32_768, "scope dataset: nodes in one graph block, whole images; sets memory, not the graph", ge=1
    )
    c_intra: int = option("graph", 20, "neighbours of a node inside its image", ge=0)
    c_inter: int = option("graph", 20, "neighbours of a node in the other images", ge=0)
    threshold: float = option("graph", 0.1, "affinities below are dropped", ge=0, lt=1)
    sharpen: float = option(
        "graph", 8.0, "exponent of the affinities; weak edges to unlike images lose their weight", gt=0, le=64
    )
    coarse_layers: Literal["features", "bilinear", "area"] = option(
        "graph",
        "features",
        "layers of coarser grids (UNets): features: their q, k, v are resampled to the finest grid; bilinear, area: "
        "their graphs have their own nodes, and the eigenvectors are resampled to them (g of Eqn. 3 as in the paper's "
        "text; as in its script)",
    )
    centre: bool = option("graph", True, "subtract the data set's mean q, k, v before normalising")
    hubs: Literal["none", "mutual", "cap", "csls", "sinkhorn"] = option(
        "graph",
        "sinkhorn",
        "nodes that very many choose: mutual: only neighbours that chose back; cap: only the nearest of those that "
        "chose a node; csls: choose by local scaling; sinkhorn: balance the degrees",
    )
    hub_cap: float = option(
        "graph", 3.0, "hubs cap: how many times c-intra + c-inter nodes at most may have chosen a node", gt=0
    )
    seed: int = option("graph", 0, "seed of mini-batches and solver", ge=0, lt=2**31)

    solver: Literal["chebyshev", "adam"] = option(
        "solve", "chebyshev", "chebyshev: exact eigenvectors; adam: Eqn. 4 of the paper"
    )
    channels: int = option("solve", 50, "eigenvectors (C)", ge=1)
    normalisation: Literal["symmetric", "random_walk"] = option(
        "solve", "symmetric", "D^-1/2 A D^-1/2, or the symmetric part of D^-1 A (Eqn. 3 as written)"
    )
    tol: float = option("solve", 1e-3, "chebyshev: largest residual of an eigenvector", ge=1e-6)
    degree: int = option("solve", 40, "chebyshev: largest degree of the filter", ge=2, le=60)
    max_rounds: int = option("solve", 30, "chebyshev: rounds at most", ge=1)
    warm_start: LocalPath | None = option(
        "solve", None, "chebyshev: begin with the eigenvectors of this earlier run on the same images, on any grid"
    )
    steps: int = option("solve", 2100, "adam: steps", ge=1)
    inner_steps: int = option("solve", 5, "adam: steps on a mini-batch before the next", ge=1)
    learning_rate: float = option("solve", 1e-2, "adam: learning rate", gt=0)
    objective: Literal["paper", "released"] = option(
        "solve", "paper", "adam: Eqn. 4 as the paper states it, or as the authors' script computes it"
    )
    ema: float = option(
        "solve", 0.0, "adam: decay of the moving average of the bank, one step a mini-batch; 0: none", ge=0, lt=1
    )
    optimality: Literal["auto", "value", "angles", "none"] = option(
        "solve",
        "auto",
        "how the solution is measured: value of Eqn. 3; angles: to its exact solution too, which costs solving that; "
        "auto: angles up to 2^20 numbers in X, else value",
    )
    bank_dtype: Literal["float32", "bfloat16"] = option(
        "solve", "float32", "how eigenvectors are stored; bfloat16 halves the disk and keeps 8 significant bits"
    )

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
    kmeans_seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], BeforeValidator(_list)] = option(
        "segment", (0, 1, 2), "K-means seeds; scores are their mean", min_length=1
    )
    kmeans_init: int = option("segment", 4, "K-means restarts a seed", ge=1)
    kmeans_rows: int = option(
        "segment", 60_000, "rows at most that K-means is fitted on, sampled evenly over the images", ge=100
    )

    labels: Literal["coarse", "fine"] = option("segment", "coarse", "classes of coco and cocostuff: 27 or all")
    ignore: Annotated[str, AfterValidator(_label_values)] = option(
        "segment",
        "auto",
        "--dataset folder: label values that count as unlabelled, as 0,255; none; auto: -1, 255 and 65535, but nothing "
        "in masks of 0 and 255, and no value that classes.txt names",
    )

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
        "scope": "batch",
        "hubs": "none",
        "c_intra": 10,
        "c_inter": 10,
        "sharpen": 1.0,
        "coarse_layers": "bilinear",
        "centre": False,
        "solver": "adam",
        "normalisation": "random_walk",
        "diffusion": 1.0,
        "row_normalise": False,
    },
    "released": {
        "timesteps": "0-300",
        "scope": "batch",
        "hubs": "none",
        "batch": 40,
        "c_intra": 50,
        "c_inter": 50,
        "sharpen": 1.0,
        "coarse_layers": "area",
        "centre": False,
        "solver": "adam",
        "normalisation": "random_walk",
        "channels": 100,
        "steps": 10_500,
        "inner_steps": 5,
        "objective": "released",
        "ema": 0.99,
        "eigenvectors": 27,
        "diffusion": 1.0,
        "row_normalise": False,
        "kmeans_init": 10,
    },
}
"""`best` is what measures best here (docs/measurements.md); `paper` follows the paper's text (sections 3 and 4.2);
`released` the authors' script (2100 mini-batches of 5 steps, the first 27 columns clustered)."""


def make_config(given: dict[str, Any], preset: str = "best") -> RunConfig:
    """Return the options of a run: those given, then the preset's, then the defaults.

    Raises:
        ConfigError: a value is not allowed, or options contradict each other; the message names the option.
    """
    if preset not in PRESETS:
        raise ConfigError(f"`preset={preset}`: there is no such preset; choose one of {', '.join(PRESETS)}")
    config = checked(RunConfig, {**PRESETS[preset], **given})
    if config.c_intra + config.c_inter == 0:
        raise ConfigError("`c_intra=0` and `c_inter=0`: a graph without edges; set at least one of them above 0")
    if config.scope == "dataset" and config.solver == "adam":
        raise ConfigError(
            "`solver=adam` works on mini-batches of images, but `scope=dataset` builds one graph over all of them; "
            "use `solver=chebyshev`, or `scope=batch`"
        )
    return config


def stage_of(name: str) -> str:
    """Return the first stage whose result the option changes."""
    extra = RunConfig.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["stage"])
