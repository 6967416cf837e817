"""metrics.json, checked as it is read back: what `info` and the report say of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import AfterValidator, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.errors import FormatError
from spectral_graph.io.files import read_json
from spectral_graph.io.validation import validated
from spectral_graph.runs.titles import BASELINE, TITLES

_CURE = "recompute with `force=evaluate`"


class Mean(TypedDict):
    """A score over the K-means seeds; `mean` is null if no seed has it."""

    mean: float | None
    sd: float | None


class Summary(TypedDict):
    """The scores under one matching."""

    miou: Mean
    accuracy: Mean
    classes: dict[str, Mean]


class Matching(TypedDict):
    """The class of each cluster, -1 for none."""

    hungarian: list[int]


class Seed(TypedDict):
    """The result of one K-means seed."""

    seed: int
    matching: Matching


class Coordinates(TypedDict):
    """Mean squared error of the linear read-out of the grid position."""

    mse: float


_SCORES = {"images_scored", "images_without_label", "hungarian", "greedy", "class_pixels", "seeds"}


class Method(TypedDict):
    """One method; the entries below `coordinates` are there if the data set has labels, all of them or none."""

    title: str
    clusters: int
    coordinates: Coordinates
    images_scored: NotRequired[int]
    images_without_label: NotRequired[int]
    hungarian: NotRequired[Summary]
    greedy: NotRequired[Summary]
    class_pixels: NotRequired[dict[str, int]]
    seeds: NotRequired[list[Seed]]


def _consistent(method: Method) -> Method:
    missing = sorted(_SCORES - method.keys())
    if 0 < len(missing) < len(_SCORES):
        raise ValueError(f"there is no {missing[0]}")
    if not missing:
        for kind in ("hungarian", "greedy"):
            for name in sorted(method["class_pixels"].keys() - method[kind]["classes"].keys()):
                raise ValueError(f"{kind} has no class {name}")
        if any(len(seed["matching"]["hungarian"]) != method["clusters"] for seed in method["seeds"]):
            raise ValueError("a matching does not have one class a cluster")
    return method


class Spectrum(TypedDict):
    """The eigenvalues of one affinity."""

    rayleigh_quotients: list[float]
    residuals: list[float] | None
    converged: bool | None


class Dataset(TypedDict):
    """What the scores were taken on."""

    unreadable_labels: list[list[str]]


class Metrics(TypedDict):
    """metrics.json."""

    dataset: Dataset
    methods: dict[str, Annotated[Method, AfterValidator(_consistent)]]
    spectrum: dict[str, Spectrum]


_FORM = TypeAdapter(Metrics)


def read_metrics(path: Path, kinds: Iterable[str]) -> Metrics:
    """Read metrics.json.

    Args:
        path: the file.
        kinds: the affinities of the run.

    Raises:
        FormatError: it is damaged; the message names the entry.
    """
    metrics = validated(read_json(path, _CURE), _FORM, path, _CURE)
    for kind in (*kinds, BASELINE):
        if kind not in metrics["methods"] or (kind != BASELINE and kind not in metrics["spectrum"]):
            raise FormatError(f"{path} is damaged (it has no entry for {TITLES[kind]}); {_CURE}")
    return metrics
