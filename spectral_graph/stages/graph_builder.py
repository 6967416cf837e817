"""What the graph stage needs in either scope: vectors and their means, the description of the graph, its facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from spectral_graph.config import RunConfig
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.affinity import TENSORS
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.facts import FactCounter
from spectral_graph.graph.layer_grids import coarse_attribute, layer_map
from spectral_graph.graph.neighbours import falls_short, shortfall
from spectral_graph.graph.selection import Selection
from spectral_graph.io.files import remove
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.stages.context import Context

WORK = ".work"
"""Folder in the store, of files that are not needed once the graph is built."""


@dataclass
class GraphBuilder:
    """The graph of one affinity of a run.

    Attributes:
        context: options, run directory, reporter.
        table: the images.
        features: q, k and v.
        kind: vv, qk or kk.
    """

    context: Context
    table: ImageTable
    features: FeatureStore
    kind: str
    _means: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    _facts: dict[str, FactCounter] = field(default_factory=dict)

    @property
    def config(self) -> RunConfig:
        """The options of the run."""
        return self.context.config

    @property
    def tensors(self) -> tuple[str, str]:
        """The tensors whose rows are compared: queries and keys."""
        return TENSORS[self.kind]

    @property
    def same(self) -> bool:
        """Return whether queries are keys."""
        return self.tensors[0] == self.tensors[1]

    @property
    def selection(self) -> Selection:
        """How neighbours are chosen."""
        c = self.config
        return Selection(c.c_intra, c.c_inter, c.threshold, c.sharpen, c.hubs, c.hub_cap)

    @property
    def _coarse(self) -> dict[str, Any]:
        layers = self.table.layers
        grids = {layer: self.features.grid_of(layer) for layer in layers}
        return coarse_attribute(self.config.coarse_layers, grids, layers, self.table.grid)

    def on_own_grid(self, layer: str) -> bool:
        """Return whether the graph of a layer has the nodes of the layer's own, coarser grid."""
        return self.config.coarse_layers != "features" and self.features.grid_of(layer) != self.table.grid

    def nodes_per_image(self, layer: str) -> int:
        """Return the nodes of an image in the graph of a layer."""
        h, w = self.features.grid_of(layer) if self.on_own_grid(layer) else self.table.grid
        return h * w

    def selection_for(self, layer: str, images: int) -> Selection:
        """Return how neighbours are chosen among `images` images; a coarse grid may have fewer nodes than wanted."""
        if not self.on_own_grid(layer):
            return self.selection
        return self.selection.within(np.full(images, self.nodes_per_image(layer)))

    def create(self, rounds: int) -> GraphStore:
        """Open the store of the graph for writing; each node is in the rows of `rounds` blocks of a layer.

        Of several processes the first one makes it, and must have done so before the others ask for it.
        """
        path, comm = self.context.run.folder(self.kind) / "graph.zarr", self.context.comm
        if not comm.is_rank0:
            return GraphStore.open(path)
        names = ["scope", "c_intra", "c_inter", "threshold", "sharpen", "hubs", "hub_cap", "seed"]
        names += ["batch"] if self.config.scope == "batch" else ["neighbours", "recall", "block"]
        attributes = {
            "kind": self.kind,
            "nodes": self.table.nodes,
            "nodes_per_image": self.table.nodes_per_image,
            "grid": list(self.table.grid),
            "layers": list(self.table.layers),
            "rounds": rounds,
            "centred": self.config.centre,
            **self._coarse,
            **{name: getattr(self.config, name) for name in names},
        }
        store = GraphStore.create(path, attributes)
        if comm.size > 1:
            for layer in self.table.layers:
                store.make_folder(f"blocks/{layer}")
        return store

    def rows(self, layer: str, tensor: str, images: Sequence[int]) -> torch.Tensor:
        """Return the vectors of the nodes of some images, (nodes, width) float32."""
        slots = [self.table.images[image].slot for image in images]
        values = self.features.read(layer, tensor, slots, own_grid=self.on_own_grid(layer))
        return torch.from_numpy(values.reshape(-1, values.shape[2]))

    def queries_and_keys(self, layer: str, images: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the queries of some images and their keys, None where they are the queries."""
        query, key = self.tensors
        return self.rows(layer, query, images), None if self.same else self.rows(layer, key, images)

    def means(self, layer: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the data set's mean query and mean key (width,) float32; None and None without centring."""
        if not self.config.centre:
            return None, None
        for tensor in self.tensors:
            if (layer, tensor) not in self._means:
                mean = torch.from_numpy(self.features.mean(layer, tensor, self.table.slots))
                self._means[layer, tensor] = mean
        query, key = self.tensors
        return self._means[layer, query], self._means[layer, key]

    def image_ptr(self, layer: str, images: int) -> np.ndarray:
        """Return the first node of each image in the graph of a layer, and the end of the last, (images + 1,) int64."""
        return np.arange(images + 1) * self.nodes_per_image(layer)

    def count(self, layer: str, block: Block) -> None:
        """Count a block in the facts of its layer."""
        nodes = len(self.table.images) * self.nodes_per_image(layer)
        self._facts.setdefault(layer, FactCounter(nodes)).add(block)

    def finish(self, store: GraphStore) -> None:
        """Note the facts of each layer, and of all layers together, in the store of a graph that is built.

        A layer whose search reached less recall than it was asked for is reported.
        """
        remove(store.path / WORK)
        everything = FactCounter(self.table.nodes)
        for layer in self.table.layers:
            everything.include(self._facts[layer], layer_map(store.attributes, layer))
        by_layer = {layer: self._facts[layer].summary() for layer in self.table.layers}
        store.set_attributes(facts={"layers": by_layer, "all": everything.summary()})
        for layer, facts in by_layer.items():
            if falls_short(facts):
                self.context.reporter.note(f"graph {self.kind} {layer}: {shortfall(facts)}")
