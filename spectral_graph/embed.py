"""From feature vectors in memory to eigenvectors in one call, for programs that bring their own features.

    found = spectral_embedding(X, n_components=20, nodes_per_image=256)     # X: (N, d), or a list of one a layer
    found.vectors, found.eigenvalues, found.residuals

The graph is that of scope `dataset`: each vector is joined to its nearest ones inside its image and in the others, one
graph a layer, merged into one normalised operator, whose leading eigenvectors are computed to a residual.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np

from spectral_graph.arguments import as_arguments, require_known, seed_of, temporary_folder
from spectral_graph.config import RunConfig, make_config
from spectral_graph.errors import GraphError, SpectralGraphWarning
from spectral_graph.features.device import find_device, reporting_full_memory
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import LayerBuilder, plan_blocks
from spectral_graph.graph.facts import FactCounter
from spectral_graph.graph.hubs import Hubs
from spectral_graph.graph.layer_lists import LayerLists
from spectral_graph.graph.merge import Normalisation, write_merged
from spectral_graph.graph.neighbours import Method
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.graph.selection import Selection
from spectral_graph.io.files import remove
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.device_room import check_kernels, check_room
from spectral_graph.vectors import first_nodes, ready_rows, split_layers

Features = Any
"""(N, d) vectors, a `Layer`, or a list of these; see `split_layers`."""
Track = Callable[[str], None]

MOST_NODES_PER_CHECKSUM = 4096


class NeighbourOptions(TypedDict, total=False):
    """Options of the graph; `spectral-graph graph --help` explains each."""

    c_intra: int
    c_inter: int
    threshold: float
    sharpen: float
    centre: bool
    hubs: Hubs
    hub_cap: float
    neighbours: Method
    recall: float


class EmbeddingOptions(NeighbourOptions, total=False):
    """Options of graph and solver; `spectral-graph solve --help` explains each."""

    block: int
    normalisation: Normalisation
    tol: float
    degree: int
    max_rounds: int
    device: str


class Eigenvectors(NamedTuple):
    """Eigenvectors of a sparse matrix, the largest eigenvalue first.

    Attributes:
        eigenvalues: (k,) float64.
        vectors: (N, k) float32, unit columns.
        residuals: (k,) float64, norms of A x - eigenvalue x.
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


@dataclass(frozen=True, eq=False)
class MergedGraph:
    """The merged operator of some layers, and what is known about the graph.

    Attributes:
        operator: N x N.
        isolated: (any number,) int64, ascending: the nodes without an edge in any layer.
        components: connected components of the union of the layers' graphs; an isolated node is one.
        recall: (layers,) float64, the share of the true neighbours in other images that the search of each layer found,
            measured on a sample; 1 where it was exact.
        recall_asked: the share that it was to find.
    """

    operator: BlockOperator
    isolated: np.ndarray
    components: int
    recall: np.ndarray
    recall_asked: float


@dataclass(frozen=True, eq=False)
class Embedding:
    """Eigenvectors of the merged operator.

    Attributes:
        vectors: (N, C) float32, unit columns, the largest eigenvalue first.
        eigenvalues: (C,) float64.
        residuals: (C,) float64, norms of S x - eigenvalue x; above `tol` only where max_rounds did not suffice.
        converged: no residual is above `tol`.
        isolated: (any number,) int64, ascending: the nodes that have no edge in any layer; their rows tell nothing.
        components: connected components of the graph; an isolated node is one. As many eigenvalues of the normalisation
            `symmetric` are 1 as there are components with an edge.
        recall: (layers,) float64, the share of the true neighbours that the search of each layer found, measured on a
            sample; 1 where it was exact.
        recall_asked: the share that it was to find.
    """

    vectors: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    converged: bool
    isolated: np.ndarray
    components: int
    recall: np.ndarray
    recall_asked: float


def spectral_embedding(
    X: Features,
    n_components: int = 50,
    *,
    nodes_per_image: int | None = None,
    image_ptr: Any = None,
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    scratch: str | Path | None = None,
    **options: Unpack[EmbeddingOptions],
) -> Embedding:
    """Return the leading eigenvectors of the affinity graph of some vectors.

    Two calls with the same vectors, options and `random_state` give the same bits, whatever the number of threads.

    Args:
        X: (N, d) vectors that are compared with each other; `Layer(queries, keys)` of two such; or a list of these,
            one a layer, over the same N nodes. Vectors are real numbers of any precision: an array of NumPy, also
            memory-mapped, torch, pandas, Zarr or h5py, a sparse one of SciPy or torch, which is made dense, or a list
            of rows, each a list of numbers. Of float64 the mean is subtracted in float64.
        n_components: number of eigenvectors, C.
        nodes_per_image: nodes of an image, where all images have as many; N is a multiple of it.
        image_ptr: (images + 1,) the first node of each image and N, where they have not. Without both, nodes have no
            images, and each gets c_intra + c_inter neighbours anywhere.
        random_state: seed of sampled searches and of the solver's start; None takes a new one.
        scratch: folder for temporary files, by default that of the system; they are removed at the end. Three layers
            of 72,013 nodes with 20 neighbours took 83 MB; vectors of more than 128 MB a layer are copied there, too.
        options: of graph and solver, by their names in `spectral-graph solve --help`, with its defaults: c_intra,
            c_inter, threshold, sharpen, hubs, centre, recall, normalisation, tol, ...; `device` is where the
            eigenvectors are computed.

    Warns:
        SpectralGraphWarning: the search found fewer neighbours than `recall` asks for, nodes have no edge, or a
            residual is above `tol`.

    Raises:
        FeatureError: X or the images are none of these, or X holds NaN or infinity; the message names the layer.
        ConfigError: an option is unknown or out of its range, or there is no such device, or no kernels for it.
        DeviceMemoryError: the memory of the device does not suffice.
        DiskFullError: the disk of `scratch` is full.
        GraphError: more neighbours are asked for than there are nodes.
        SolverError: more eigenvectors are asked for than there are nodes, or the graph has no edges.
    """
    require_known(options, EmbeddingOptions)
    with as_arguments():
        config = make_config({**options, "channels": n_components, "seed": seed_of(random_state)})
        check_kernels(find_device(config.device))  # before the work that comes first
        with temporary_folder(scratch) as work:
            layers = split_layers(X)
            starts = first_nodes(layers[0][0].shape[0], nodes_per_image, image_ptr)
            found = leading_eigenvectors(build_graph(layers, starts, config, work), config, work)
    for text in _shortcomings(found, config):
        warnings.warn(text, SpectralGraphWarning, stacklevel=2)
    return found


def _shortcomings(found: Embedding, config: RunConfig) -> list[str]:
    """Return in what the result falls short of what was asked."""
    texts = [*missed_recall(found.recall, found.recall_asked), *not_converged(found.residuals, config.tol)]
    if len(found.isolated):
        texts.append(
            f"{len(found.isolated)} of {len(found.vectors)} nodes have no neighbour, so their rows are zero (see "
            "Embedding.isolated); lower threshold, raise c_intra or c_inter, or leave these nodes out"
        )
    return texts


def missed_recall(recall: np.ndarray, asked: float) -> list[str]:
    """Return a warning where the search of a layer found less than the share of the neighbours asked for."""
    least = int(recall.argmin())
    if recall[least] >= asked:
        return []
    return [
        f"the neighbour search of layer {least} found {recall[least]:.3f} of the true neighbours, below the recall of "
        f"{asked:g} that was asked for; use neighbours='exact'"
    ]


def not_converged(residuals: np.ndarray, tol: float) -> list[str]:
    """Return a warning where a residual is above `tol`."""
    if residuals.max() <= tol:
        return []
    return [
        f"the eigenvectors did not converge: the largest residual is {residuals.max():.1e}, above tol={tol:g}; raise "
        "max_rounds or degree, or accept it with a larger tol"
    ]


def leading_eigenvectors(graph: MergedGraph, config: RunConfig, work: Path) -> Embedding:
    """Return the eigenvectors of a graph from `build_graph`; see `operator_eigenvectors`."""
    found = operator_eigenvectors(graph.operator, config, work)
    return Embedding(
        vectors=found.vectors,
        eigenvalues=found.eigenvalues,
        residuals=found.residuals,
        converged=bool(found.residuals.max() <= config.tol),
        isolated=graph.isolated,
        components=graph.components,
        recall=graph.recall,
        recall_asked=graph.recall_asked,
    )


def operator_eigenvectors(operator: BlockOperator, config: RunConfig, work: Path) -> Eigenvectors:
    """Return the leading eigenvectors of an operator.

    Args:
        operator: N x N, symmetric.
        config: channels, tol, degree, max_rounds, seed and device.
        work: folder for what does not fit memory.

    Raises:
        ConfigError: there is no such device.
        DeviceMemoryError: its memory does not suffice.
    """
    nodes, device = operator.shape[0], find_device(config.device)
    part = next(size for size in range(min(nodes, MOST_NODES_PER_CHECKSUM), 0, -1) if nodes % size == 0)
    on_device = device.type != "cpu"
    if on_device:
        check_room(device, operator, config.channels)
    with reporting_full_memory(device, "the solver beside its columns", "lower `channels`"):
        found, rounds = chebyshev(
            operator,
            work / "solve",
            ChebyshevSettings.of(config),
            part,
            lambda _: None,
            device=device if on_device else None,
        )
    last, kept = rounds[-1], slice(0, config.channels)
    return Eigenvectors(last.ritz[kept].copy(), np.array(found.view()[:, kept]), last.residuals[kept].copy())


def build_graph(
    layers: list[tuple[Any, ...]],
    image_ptr: np.ndarray | None,
    config: RunConfig,
    work: Path,
    done: Track = lambda _: None,
) -> MergedGraph:
    """Search, symmetrise and merge all layers, as stage graph does.

    Args:
        layers: from `split_layers`.
        image_ptr: from `first_nodes`; None where nodes have no images.
        config: options of graph and normalisation.
        work: folder for the graph and scratch files; the operator reads it.
        done: called with the name of each step when it ends.
    """
    nodes = layers[0][0].shape[0]
    alone = image_ptr is None
    image_ptr = np.arange(nodes + 1) if image_ptr is None else image_ptr
    selection = Selection(config.c_intra, config.c_inter, config.threshold, config.sharpen, config.hubs, config.hub_cap)
    if alone:
        selection = replace(selection, c_intra=0, c_inter=config.c_intra + config.c_inter)
        if selection.c_inter > nodes - 1:
            raise GraphError(
                f"c_intra + c_inter is {selection.c_inter}, but a node has at most {nodes - 1} neighbours among "
                f"{nodes} nodes; lower `c_intra` or `c_inter`"
            )
    store = GraphStore.create(work / "graph.zarr", {"nodes": nodes, "rounds": 1})
    bounds = plan_blocks(image_ptr, config.block)
    names = [f"layer.{index:03d}" for index in range(len(layers))]
    known, recall = FactCounter(nodes), []
    for index, (name, sides) in enumerate(zip(names, layers, strict=True)):
        rows, means = zip(*(ready_rows(side, config.centre, f"layer {index}") for side in sides), strict=True)
        lists = LayerLists(rows[0], rows[1] if len(rows) > 1 else None, (means[0], means[-1]), image_ptr, selection)
        done("mean")
        inter, facts = lists.outside(config.neighbours, config.recall, work / name / "search", config.seed)
        recall.append(float(facts["recall"]))
        done("search")
        builder = LayerBuilder(store, name, image_ptr, bounds, selection, len(rows) == 1, work / name / "lists")
        for block in builder.build(lists.inside, inter, facts):
            known.add(block)
        remove(work / name)
        done("neighbours inside images, symmetrise, balance, store")
    for _ in write_merged(store, names, [f"{index:06d}" for index in range(len(bounds) - 1)], config.normalisation):
        pass
    done("merge")
    operator = merged_operator(store, config.normalisation)
    return MergedGraph(operator, known.isolated, known.components, np.array(recall), config.recall)
