"""The features of a run, held in memory, and the graphs that are built of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spectral_graph.config import PRESETS, RunConfig, make_config
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.affinity import TENSORS
from spectral_graph.runs.image_table import ImageTable

LAYERS = 7
GRAPHS: dict[str, dict[str, object]] = {
    "10+10": {"c_intra": 10, "c_inter": 10, "sharpen": 1.0, "hubs": "none"},
    "5+20": {"c_intra": 5, "c_inter": 20, "sharpen": 1.0, "hubs": "none"},
    "8+16": {**PRESETS["best"], "c_intra": 8, "c_inter": 16},
    "best": dict(PRESETS["best"]),
}
"""Graphs that are measured: the paper's numbers of neighbours with nothing else, those for many images of one scene,
the default of the package with half the neighbours, and the default."""


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
