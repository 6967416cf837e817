"""The content of a report as plain records: the report stage fills them, `page.write_report` shows them.

These records know nothing of HTML or of the other stages. Every part may be empty: the page leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ALL_LAYERS = "all layers"
"""`GraphRow.layer` of the totals of a pathway."""


@dataclass(frozen=True)
class GraphRow:
    """The graph of one pathway and layer, over all of its blocks."""

    pathway: str  # e.g. ``V-V``
    layer: str  # name of the attention layer, or `ALL_LAYERS` for the totals of the pathway
    kind: str  # the affinity and how it was built, e.g. ``vv, centred, scope batch``
    threshold: float  # affinities below it were dropped
    facts: Mapping[str, Any]  # as stored with the graph, see `spectral_graph.graph.facts`


@dataclass(frozen=True)
class Curve:
    """Convergence of a solver. Curves of one quantity share a chart."""

    pathway: str
    quantity: str  # label of the vertical axis, e.g. ``loss (Eqn. 4)`` or ``largest residual``
    step: str  # label of the horizontal axis, e.g. ``step`` or ``round``
    points: Sequence[tuple[float, float]]  # (step, value) in the order of the steps
    target: float | None = None  # the value at which the solver stops


@dataclass(frozen=True)
class SolverFacts:
    """How good the solution of a pathway is, by the paper's own objective."""

    pathway: str
    solver: str  # name of the solver and the options that set it apart
    value: float  # value of Eqn. 3, divided by the number of channels
    optimum: float | None  # its maximum; None where it was not computed
    overlap: float | None  # share of the exact solution's subspace that was found, 0 to 1
    largest_angle: float | None  # between the solution and the exact one, in degrees
    off_diagonal: float  # largest entry of X_ortho^T X_ortho off the diagonal, relative to its largest diagonal entry


@dataclass(frozen=True)
class StageFacts:
    """The cost of one stage."""

    name: str
    seconds: float  # wall-clock time
    peak_bytes: int | None  # peak memory of the process in the stage; None where it was not measured
    state: str  # as in run.json


@dataclass(frozen=True)
class DatasetFacts:
    """The images of the run."""

    name: str
    split: str  # empty where the data set has none
    images: int  # images kept
    unlabelled: int  # images kept that have no label map
    grid: tuple[int, int]  # (h, w) of the bank's grid, in nodes
    network_size: tuple[int, int]  # (H, W) of the network's input, in pixels
    preprocessing: str  # one sentence
    skipped: Sequence[tuple[str, str]] = ()  # (image id, reason)


@dataclass(frozen=True)
class FileEntry:
    """One file or folder of the run directory."""

    path: str  # relative to the run directory
    description: str
    bytes: int


@dataclass(frozen=True, eq=False)
class PathwayView:
    """The result of one pathway on one photo."""

    eigenvectors: np.ndarray  # (h, w, C) float32 on the bank's grid, leading column first; C = 0 for none
    regions: np.ndarray | None = None  # (h, w) integer cluster ids, -1 for none
    matched: Sequence[int] | None = None  # class id of each cluster by Hungarian matching, -1 for none


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One photo of the gallery."""

    id: str
    photo: np.ndarray  # (H, W, 3) uint8, as the network saw it
    ground_truth: np.ndarray | None  # (H, W) int16 class ids, -1 ignored; None where the image has no label
    pathways: Mapping[str, PathwayView]


@dataclass(frozen=True)
class PhotoLicence:
    """The licence of one photo of the gallery."""

    image: str
    licence: str
    url: str = ""  # source of the photo, or page of the licence; empty where unknown


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows."""

    title: str
    command: str
    created: str  # ISO date, or date and time
    preset: str
    options: Mapping[str, Mapping[str, object]]  # section -> {option: value}
    dataset: DatasetFacts
    versions: Mapping[str, str] = field(default_factory=dict)  # program -> version
    notes: Sequence[str] = ()  # sentences shown at the top
    classes: Sequence[str] = ()  # class names; index = class id. Empty where there are no labels
    methods: Sequence[Mapping[str, Any]] = ()  # entries of `methods` in metrics.json that have scores
    graphs: Sequence[GraphRow] = ()  # one a pathway and layer, and one with the totals of each pathway
    eigenvalues: Mapping[str, Sequence[float]] = field(default_factory=dict)  # pathway -> values, largest first
    residuals: Mapping[str, Sequence[float]] = field(default_factory=dict)  # pathway -> |S x - eigenvalue x|
    history: Sequence[Curve] = ()
    solvers: Sequence[SolverFacts] = ()
    stages: Sequence[StageFacts] = ()
    gallery: Sequence[GalleryItem] = ()
    licences: Sequence[PhotoLicence] = ()
    files: Sequence[FileEntry] = ()
