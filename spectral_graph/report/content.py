"""What a report says, as plain records that the report stage fills and `page.write_report` shows.

Nothing here knows of HTML, pictures or the other stages. Every part may be left empty: the page leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from spectral_graph.report.photo_content import GalleryItem, PathwayView, PhotoLicence
from spectral_graph.report.score_content import ClassScore, MeanSd, ScoreRow

__all__ = [
    "ALL_LAYERS",
    "ClassScore",
    "Curve",
    "DatasetFacts",
    "FileEntry",
    "GalleryItem",
    "GraphFacts",
    "MeanSd",
    "PathwayView",
    "PhotoLicence",
    "ReportContent",
    "ScoreRow",
    "SolverFacts",
    "StageFacts",
]

ALL_LAYERS = "all layers"
"""`GraphFacts.layer` of the totals of a pathway."""


@dataclass(frozen=True)
class GraphFacts:
    """The graph of one pathway and layer, over all of its blocks.

    Attributes:
        pathway: e.g. ``V-V``.
        layer: the attention layer's name, or `ALL_LAYERS` for the totals of the pathway.
        kind: the affinity and how it was built, e.g. ``vv, centred, batch``.
        nodes: number of nodes (grid cells of all images).
        edges: stored entries of the symmetric matrices A of all blocks.
        isolated: nodes without an edge in any block.
        max_in_degree: how many nodes chose the most chosen node as a neighbour (before A is made symmetric).
        mean_degree: mean of D, the sum of a node's edge weights.
        components: connected components, isolated nodes included; None where they were not counted.
        threshold: affinities below it were dropped.
        in_degrees: (share, value): how many nodes chose a node, at most, for that share of the nodes.
        short_share: share of the nodes that have fewer neighbours than were asked for, in 0..1.
        recall: share of the true neighbours that the search found, measured on a sample; 1 where it was exact.
    """

    pathway: str
    layer: str
    kind: str
    nodes: int
    edges: int
    isolated: int
    max_in_degree: int
    mean_degree: float
    components: int | None
    threshold: float
    in_degrees: Sequence[tuple[float, int]] = ()
    short_share: float | None = None
    recall: float | None = None


@dataclass(frozen=True)
class Curve:
    """How a solver went on.

    Attributes:
        pathway: e.g. ``V-V``.
        quantity: what is drawn upwards, e.g. ``loss (Eqn. 4)`` or ``largest residual``. Curves of one quantity share
            a chart.
        step: what is counted, e.g. ``step`` or ``round``.
        points: (step, value) in the order of the steps.
        target: the value at which the solver stops, drawn as a line; None where there is none.
    """

    pathway: str
    quantity: str
    step: str
    points: Sequence[tuple[float, float]]
    target: float | None = None


@dataclass(frozen=True)
class SolverFacts:
    """How good the solution of a pathway is, by the paper's own objective.

    Attributes:
        pathway: e.g. ``V-V``.
        solver: its name, with what sets it apart.
        value: of Eqn. 3, divided by the number of channels.
        optimum: its largest value; None where it was not computed.
        overlap: share of the exact solution's subspace that was found, 0 to 1; None as above.
        largest_angle: between the solution and the exact one, in degrees; None as above.
        off_diagonal: largest entry of X_ortho^T X_ortho off the diagonal, relative to its largest diagonal entry.
    """

    pathway: str
    solver: str
    value: float
    optimum: float | None
    overlap: float | None
    largest_angle: float | None
    off_diagonal: float


@dataclass(frozen=True)
class StageFacts:
    """What one stage cost.

    Attributes:
        name: the stage's name.
        seconds: wall-clock time.
        peak_bytes: peak memory of the process in the stage; None where it was not measured.
        state: ``complete``, ``running`` or ``open``, as in run.json.
    """

    name: str
    seconds: float
    peak_bytes: int | None
    state: str


@dataclass(frozen=True)
class DatasetFacts:
    """What the run looked at.

    Attributes:
        name: name of the data set.
        split: its split; empty where it has none.
        images: images kept.
        unlabelled: images kept that have no label map.
        grid: the bank's grid (h, w) in nodes.
        network_size: the size (H, W) in pixels that the network sees.
        preprocessing: one sentence.
        skipped: (image id, reason) of each image that was left out.
    """

    name: str
    split: str
    images: int
    unlabelled: int
    grid: tuple[int, int]
    network_size: tuple[int, int]
    preprocessing: str
    skipped: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class FileEntry:
    """One file or folder of the run directory.

    Attributes:
        path: relative to the run directory.
        what: what it is, in a few words.
        bytes: its size.
    """

    path: str
    what: str
    bytes: int


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that a report shows.

    Attributes:
        title: the page's title.
        command: the command line of the run.
        created: ISO date, or date and time.
        preset: name of the preset.
        options: section -> {option: value}, in the order to be shown.
        dataset: what the run looked at.
        versions: program -> version.
        notes: sentences that a reader must know, shown at the top.
        classes: class names; index = class id. Empty where there are no labels.
        scores: one row a method.
        per_class: method -> {class name: score}.
        coordinate_unit: the unit of `ScoreRow.coordinate_mse`.
        graphs: one record a pathway and layer, and where known one of the totals of each pathway.
        eigenvalues: pathway -> eigenvalues, largest first.
        residuals: pathway -> |S x - eigenvalue x| of the unit eigenvectors, where the solver knows them.
        history: curves of the solvers.
        solvers: how good each pathway's solution is.
        stages: what each stage cost.
        gallery: the photos to show.
        limits: pathway -> (low, high), each (C,): the eigenvector values shown darkest and brightest. Where a pathway
            is missing, its 2nd and 98th percentiles over the gallery are used.
        licences: licences of the photos shown.
        files: what the run directory holds.
    """

    title: str
    command: str
    created: str
    preset: str
    options: Mapping[str, Mapping[str, object]]
    dataset: DatasetFacts
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    classes: Sequence[str] = ()
    scores: Sequence[ScoreRow] = ()
    per_class: Mapping[str, Mapping[str, ClassScore]] = field(default_factory=dict)
    coordinate_unit: str = "grid steps squared"
    graphs: Sequence[GraphFacts] = ()
    eigenvalues: Mapping[str, Sequence[float]] = field(default_factory=dict)
    residuals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    history: Sequence[Curve] = ()
    solvers: Sequence[SolverFacts] = ()
    stages: Sequence[StageFacts] = ()
    gallery: Sequence[GalleryItem] = ()
    limits: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    licences: Sequence[PhotoLicence] = ()
    files: Sequence[FileEntry] = ()
