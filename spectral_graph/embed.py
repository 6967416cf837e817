"""From feature vectors in memory to eigenvectors in one call, for programs that bring their own features.

    found = spectral_embedding(features, nodes_per_image, channels=20)      # features: (N, d), or one matrix a layer
    found.vectors, found.eigenvalues, found.residuals

The graph is that of scope `dataset`: each vector is joined to its nearest ones inside its image and in the others, one
graph a layer, merged into one normalised operator, whose leading eigenvectors are computed to a residual.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import torch

from spectral_graph.borrow import borrow
from spectral_graph.config import RunConfig, make_config
from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.features.device import find_device, memory_in_words
from spectral_graph.files import remove
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import LayerBuilder, plan_blocks
from spectral_graph.graph.hubs import Hubs
from spectral_graph.graph.layer_lists import LayerLists
from spectral_graph.graph.merge import Normalisation, write_merged
from spectral_graph.graph.neighbours import ArrayRows, Method
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.graph.selection import Selection
from spectral_graph.solve.chebyshev import chebyshev
from spectral_graph.solve.device_room import check_kernels, check_room

Vectors = np.ndarray | torch.Tensor
Layer = Vectors | tuple[Vectors, Vectors]
"""(N, d) vectors that are compared with each other, or queries and keys."""
Track = Callable[[str], None]

MEAN_ROWS = 4096
MOST_NODES_PER_CHECKSUM = 4096


class EmbeddingOptions(TypedDict, total=False):
    """Options of graph and solver; `spectral-graph solve --help` explains each."""

    c_intra: int
    c_inter: int
    threshold: float
    sharpen: float
    centre: bool
    hubs: Hubs
    hub_cap: float
    neighbours: Method
    recall: float
    block: int
    channels: int
    normalisation: Normalisation
    tol: float
    degree: int
    max_rounds: int
    seed: int
    device: str


@dataclass(frozen=True)
class Embedding:
    """Eigenvectors of the merged operator.

    Attributes:
        vectors: (N, channels) float32, unit columns, the largest eigenvalue first.
        eigenvalues: (channels,) float64.
        residuals: (channels,) float64, norms of S x - eigenvalue x; above `tol` only where max_rounds did not suffice.
    """

    vectors: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray


def spectral_embedding(
    features: Layer | list[Layer],
    images: int | np.ndarray | None = None,
    *,
    scratch: Path | None = None,
    **options: Unpack[EmbeddingOptions],
) -> Embedding:
    """Return the leading eigenvectors of the affinity graph of some vectors.

    Two calls with the same vectors and options give the same bits, whatever the number of threads.

    Args:
        features: (N, d) float16, float32 or float64 vectors, NumPy or torch, memory-mapped arrays as well; a pair
            (queries, keys); or a list of such, one a layer, over the same N nodes.
        images: to which image a node belongs: nodes of each image, or (images + 1,) the first node of each and N.
            Without it nodes have no images, and each gets c_intra + c_inter neighbours anywhere.
        scratch: folder for temporary files, by default that of the system; they are removed at the end. Three layers
            of 72,013 nodes with 20 neighbours took 83 MB; vectors of more than 128 MB a layer are copied there, too.
        options: of graph and solver, by their names in `RunConfig`, with its defaults: channels, c_intra, c_inter,
            threshold, sharpen, hubs, centre, recall, normalisation, tol, seed, ...; `device` is where the eigenvectors
            are computed.

    Raises:
        FeatureError: NaN or infinity in the vectors, or shapes do not fit.
        ConfigError: an option is unknown or out of its range, or there is no such device, or no kernels for it.
        DeviceMemoryError: the memory of the device does not suffice.
        GraphError: more neighbours are asked for than there are nodes.
        SolverError: more eigenvectors are asked for than there are nodes, or the graph has no edges.
    """
    layers = features if isinstance(features, list) else [features]
    unknown = sorted(options.keys() - EmbeddingOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(EmbeddingOptions.__annotations__)
        raise ConfigError(f"{unknown[0]}: there is no such option here; there are {known}")
    config = make_config(dict(options))
    check_kernels(find_device(config.device))  # before the work that comes first
    with tempfile.TemporaryDirectory(prefix="spectral-graph-", dir=scratch) as name:
        operator = build_operator(layers, images, config, Path(name))
        return leading_eigenvectors(operator, config, Path(name))


def leading_eigenvectors(operator: BlockOperator, config: RunConfig, work: Path) -> Embedding:
    """Return the eigenvectors of an operator.

    Args:
        operator: N x N.
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
    with memory_in_words(device, "the solver beside its columns", "lower --channels"):
        found, rounds = chebyshev(
            operator,
            work / "solve",
            config.channels,
            part,
            config.tol,
            config.degree,
            config.max_rounds,
            config.seed,
            lambda _: None,
            device=device if on_device else None,
        )
    last, kept = rounds[-1], slice(0, config.channels)
    return Embedding(np.array(found.view()[:, kept]), last.ritz[kept].copy(), last.residuals[kept].copy())


def build_operator(
    features: Sequence[Layer],
    images: int | np.ndarray | None,
    config: RunConfig,
    work: Path,
    done: Track = lambda _: None,
) -> BlockOperator:
    """Search, symmetrise and merge all layers, as the stages graph and solve do.

    Args:
        features: see `spectral_embedding`.
        images: see `spectral_embedding`.
        config: options of graph and normalisation.
        work: folder for the graph and scratch files; the operator reads it.
        done: called with the name of each step when it ends.
    """
    layers = [tuple(map(_array, layer)) if isinstance(layer, tuple) else (_array(layer),) for layer in features]
    nodes = _nodes(layers)
    image_ptr = _image_ptr(images, nodes)
    selection = Selection(config.c_intra, config.c_inter, config.threshold, config.sharpen, config.hubs, config.hub_cap)
    if images is None:
        selection = replace(selection, c_intra=0, c_inter=config.c_intra + config.c_inter)
    store = GraphStore.create(work / "graph.zarr", {"nodes": nodes, "rounds": 1})
    bounds = plan_blocks(image_ptr, config.block)
    names = [f"layer.{index:03d}" for index in range(len(layers))]
    for name, sides in zip(names, layers, strict=True):
        means = [mean_row(side) if config.centre else None for side in sides]
        rows = [ArrayRows(side) for side in sides]
        lists = LayerLists(rows[0], rows[1] if len(rows) > 1 else None, (means[0], means[-1]), image_ptr, selection)
        done("mean")
        inter, facts = lists.outside(config.neighbours, config.recall, work / name / "search", config.seed)
        done("search")
        builder = LayerBuilder(store, name, image_ptr, bounds, selection, len(rows) == 1, work / name / "lists")
        for _ in builder.build(lists.inside, inter, facts):
            pass
        remove(work / name)
        done("neighbours inside images, symmetrise, balance, store")
    for _ in write_merged(store, names, [f"{index:06d}" for index in range(len(bounds) - 1)], config.normalisation):
        pass
    done("merge")
    return merged_operator(store, config.normalisation)


def mean_row(rows: np.ndarray) -> np.ndarray:
    """Return the mean row (d,) float32 of (N, d), summed in float64.

    Raises:
        FeatureError: NaN or infinity in a row.
    """
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for start in range(0, len(rows), MEAN_ROWS):
        part = borrow(rows[start : start + MEAN_ROWS]).float()
        total += part.sum(dim=0, dtype=torch.float64)
        if not bool(total.isfinite().all()):
            node = start + int((~part.isfinite()).any(dim=1).nonzero()[0])
            raise FeatureError(f"the vector of node {node} holds NaN or infinity; leave its image out")
    return (total / len(rows)).float().numpy()


def _array(vectors: Vectors) -> np.ndarray:
    if isinstance(vectors, torch.Tensor):
        vectors = vectors.detach().cpu()
        return (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()
    return vectors


def _nodes(layers: Sequence[tuple[np.ndarray, ...]]) -> int:
    """Return N, after a look at the shapes."""
    if not layers:
        raise FeatureError("there are no features: the list of layers is empty")
    for number, sides in enumerate(layers):
        for side in sides:
            if side.ndim != 2 or len(side) != len(layers[0][0]) or side.shape != sides[0].shape:
                raise FeatureError(
                    f"features of layer {number} have shape {tuple(side.shape)}; expected a matrix (nodes, d) with "
                    f"{len(layers[0][0])} nodes like the first layer, queries and keys of equal shape"
                )
    if len(layers[0][0]) == 0:
        raise FeatureError("there are no features: the first layer has no rows")
    return len(layers[0][0])


def _image_ptr(images: int | np.ndarray | None, nodes: int) -> np.ndarray:
    if images is None:
        return np.arange(nodes + 1)
    if isinstance(images, int | np.integer):
        if images < 1 or nodes % images:
            raise FeatureError(f"{nodes} nodes do not divide into images of {images} nodes")
        return np.arange(nodes // images + 1) * images
    starts = np.asarray(images)
    if (
        starts.dtype.kind not in "iu"
        or starts.ndim != 1
        or len(starts) < 2
        or starts[0] != 0
        or starts[-1] != nodes
        or bool((np.diff(starts) < 1).any())
    ):
        raise FeatureError(f"the first nodes of the images must ascend from 0 to {nodes}, got {images!r}")
    return starts.astype(np.int64)
