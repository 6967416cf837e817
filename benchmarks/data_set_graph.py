"""From the features of a run, held in memory, to the merged operator of scope `dataset`, by the package's functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spectral_graph.config import PRESETS, RunConfig, make_config
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.affinity import TENSORS, nearest
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import LayerBuilder, plan_blocks
from spectral_graph.graph.lists import Lists
from spectral_graph.graph.merge import write_merged
from spectral_graph.graph.neighbours import ArrayRows, find_neighbours
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.graph.selection import Selection
from spectral_graph.stages.context import ImageTable

LAYERS = 7
GRAPHS: dict[str, dict[str, object]] = {
    "10+10": {"c_intra": 10, "c_inter": 10, "sharpen": 1.0, "hubs": "none"},
    "5+20": {"c_intra": 5, "c_inter": 20, "sharpen": 1.0, "hubs": "none"},
    "best": dict(PRESETS["best"]),
}
"""Graphs that are measured: the paper's numbers of neighbours with nothing else, those for many images of one scene,
and the default of the package."""

Track = Callable[[str], None]


@dataclass(frozen=True)
class Features:
    """The vectors of one affinity.

    Attributes:
        layers: for each layer queries (N, d) float16 and, where they are others, keys.
        image_ptr: (images + 1,) int64, first node of each image.
    """

    layers: tuple[tuple[np.ndarray, ...], ...]
    image_ptr: np.ndarray

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return int(self.image_ptr[-1])

    def first_images(self, count: int) -> Features:
        """Return those of the first images only."""
        pointers = self.image_ptr[: count + 1]
        return Features(tuple(tuple(part[: pointers[-1]] for part in layer) for layer in self.layers), pointers)


def features_of(run: Path, kind: str, layers: int = LAYERS) -> Features:
    """Read the last `layers` layers of a run whose stage extract is complete."""
    table, store = ImageTable.load(run / "images.json"), FeatureStore.open(run / "features.zarr")
    tensors = dict.fromkeys(TENSORS[kind])
    parts = tuple(
        tuple(store.read(layer, tensor, table.slots).reshape(table.nodes, -1).astype(np.float16) for tensor in tensors)
        for layer in table.layers[-layers:]
    )
    return Features(parts, np.arange(len(table.images) + 1) * table.nodes_per_image)


def options_of(graph: str) -> RunConfig:
    """Return the options of one of GRAPHS."""
    return make_config(GRAPHS[graph])


def mean_of(rows: np.ndarray) -> np.ndarray:
    """Return the mean row (d,) float32, summed in float64."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for part in torch.from_numpy(rows).split(4096):
        total += part.float().sum(dim=0, dtype=torch.float64)
    return (total / len(rows)).float().numpy()


def build_operator(features: Features, config: RunConfig, work: Path, done: Track = lambda _: None) -> BlockOperator:
    """Search, symmetrise and merge all layers, as the stages graph and solve do.

    Args:
        features: the vectors.
        config: options of the stages graph and solve.
        work: folder for the graph and scratch files.
        done: called with the name of each step when it ends.
    """
    selection = Selection(config.c_intra, config.c_inter, config.threshold, config.sharpen, config.hubs, config.hub_cap)
    store = GraphStore.create(work / "graph.zarr", {"nodes": features.nodes, "rounds": 1})
    bounds = plan_blocks(features.image_ptr, config.block)
    names = [f"layer.{index}" for index in range(len(features.layers))]
    for name, rows in zip(names, features.layers, strict=True):
        _build_layer(store, name, rows, features.image_ptr, bounds, selection, config, done)
    for _ in write_merged(store, names, [f"{index:06d}" for index in range(len(bounds) - 1)], config.normalisation):
        pass
    done("merge")
    return merged_operator(store, config.normalisation)


def _build_layer(
    store: GraphStore,
    name: str,
    rows: Sequence[np.ndarray],
    image_ptr: np.ndarray,
    bounds: np.ndarray,
    selection: Selection,
    config: RunConfig,
    done: Track,
) -> None:
    means = [mean_of(part) if config.centre else None for part in rows]
    tensors = [None if mean is None else torch.from_numpy(mean) for mean in means]
    done("mean")
    work = store.path / ".work" / name
    inside, outside = selection.candidates
    inter = find_neighbours(
        ArrayRows(rows[0]),
        ArrayRows(rows[1]) if len(rows) > 1 else None,
        image_ptr,
        outside,
        method=config.neighbours,
        recall=config.recall,
        threshold=selection.threshold,
        query_mean=means[0],
        key_mean=means[-1] if len(rows) > 1 else None,
        work=work / "search",
        seed=config.seed,
    )
    done("search")

    def intra(first: int, last: int) -> Lists:
        start, stop = int(image_ptr[first]), int(image_ptr[last])
        parts = [torch.from_numpy(part[start:stop]) for part in rows]
        pointers = torch.from_numpy(image_ptr[first : last + 1] - start)
        key = parts[1] if len(rows) > 1 else None
        found = nearest(parts[0], key, pointers, (inside, 0), selection.threshold, tensors[0], tensors[-1])
        done("neighbours inside images")
        return found

    builder = LayerBuilder(store, name, image_ptr, bounds, selection, len(rows) == 1, work / "lists")
    for _ in builder.build(intra, inter, {"recall": inter.facts["recall"]}):
        pass
    done("symmetrise, balance, store")
