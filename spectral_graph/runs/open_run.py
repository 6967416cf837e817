"""A finished or unfinished run from Python: images, graphs, eigenvectors, regions and scores, read when asked for."""

from __future__ import annotations

import difflib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError, MissingDataError
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.merge import Normalisation
from spectral_graph.graph.operator import BlockOperator, affinity_operator, merged_operator
from spectral_graph.runs.graph_attributes import graph_attributes, graph_facts
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.runs.manifest import read_manifest
from spectral_graph.runs.metrics import read_metrics
from spectral_graph.runs.notes import orthogonal_notes
from spectral_graph.runs.titles import BASELINE
from spectral_graph.segment.store import RegionStore


class Graph:
    """The affinity graphs of one kind, one a layer.

    Attributes:
        layers: their names.
        facts: what is known about each layer's graph and about all: degrees, components, isolated nodes, recall.
    """

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self.layers: tuple[str, ...] = tuple(graph_attributes(store)["layers"])
        self.facts: dict[str, Any] = dict(graph_facts(store))

    def operator(self, layer: str) -> BlockOperator:
        """Return the affinity A of a layer as an operator that reads its blocks from disk: `operator @ X`."""
        return affinity_operator(self._store, layer)

    def affinity(self, layer: str) -> csr_array:
        """Return the affinity A (N, N) float32 of a layer in memory, symmetric; the mean over mini-batches."""
        return self.operator(layer).to_scipy()


class Run:
    """A run directory. Nothing is read before it is asked for; arrays are memory-mapped where that is possible.

    Nodes are numbered image by image, row by row of the grid: N = len(images) * h * w.

    Attributes:
        path: the directory.
        config: its options, by name.
        kinds: its affinities, of vv, qk and kk.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._manifest = read_manifest(self.path)
        self.config: dict[str, Any] = self._manifest["config"]
        self.kinds: tuple[str, ...] = tuple(self.config["kinds"])

    def __repr__(self) -> str:
        done = [name for name, stage in self._manifest["stages"].items() if stage["state"] == "complete"]
        return f"Run({str(self.path)!r}, complete: {', '.join(done) or 'nothing'})"

    @cached_property
    def _table(self) -> ImageTable:
        self._require("extract")
        return ImageTable.load(self.path / "images.json")

    @property
    def images(self) -> tuple[KeptImage, ...]:
        """The images: id, place in the data set, the part of the photo that the model saw."""
        return self._table.images

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), nodes of an image."""
        return self._table.grid

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the attention layers."""
        return self._table.layers

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        self._require("evaluate")
        return dict(read_metrics(self.path / "metrics.json", self.kinds))

    def graph(self, kind: str) -> Graph:
        """Return the graphs of one affinity."""
        self._require("graph", kind)
        return Graph(self._store(kind))

    def operator(self, kind: str, normalisation: Normalisation | None = None) -> BlockOperator:
        """Return the merged, normalised graph of all layers as an operator that reads its blocks from disk.

        `operator @ X` takes X (N,) or (N, C); SciPy's solvers take it too, and `to_scipy` gives the matrix.

        Args:
            kind: the affinity.
            normalisation: symmetric or random_walk; the run's by default.

        Raises:
            GraphError: the run has not merged its graphs with that normalisation.
        """
        self._require("graph", kind)
        return merged_operator(self._store(kind), normalisation or self.config["normalisation"])

    def eigenvectors(self, kind: str, image: str | int | None = None) -> np.ndarray:
        """Return X_ortho (N, C), memory-mapped and read-only, float32 (or bfloat16 where the run stores that).

        Args:
            kind: the affinity.
            image: id or number of one image; then (h, w, C) float32.
        """
        bank = self._ortho(kind)
        if image is None:
            return bank.view()
        number = self._number(image)
        return bank.read(number, number + 1).reshape(*self.grid, -1)

    def eigenvalues(self, kind: str) -> np.ndarray:
        """Return the Rayleigh quotients (C,) float64 of the columns of X_ortho in the merged operator."""
        return np.array(orthogonal_notes(self._ortho(kind))["rayleigh_quotients"])

    def regions(self, method: str, image: str | int | None = None, seed: int | None = None) -> np.ndarray:
        """Return cluster maps (images, h, w) uint16.

        Args:
            method: an affinity, or "final" for K-means on the final features.
            image: id or number of one image; then (h, w).
            seed: one of the run's K-means seeds; the first by default.

        Raises:
            ConfigError: the run has no such method, image or seed.
        """
        self._require("segment")
        self._known("method", method, (*self.kinds, BASELINE))
        store = RegionStore.open(self.path / "regions.zarr")
        chosen = store.seeds[0] if seed is None else seed
        self._known("seed", chosen, store.seeds)
        numbers = range(len(self.images)) if image is None else [self._number(image)]
        maps = np.stack([store.read(method, store.seeds.index(chosen), number) for number in numbers])
        return maps if image is None else maps[0]

    def _require(self, stage: str, kind: str | None = None) -> None:
        if kind is not None:
            self._known("kind", kind, self.kinds)
        if self._manifest["stages"][stage]["state"] != "complete":
            self._manifest = read_manifest(self.path)  # another process may have finished it
        if self._manifest["stages"][stage]["state"] != "complete":
            raise MissingDataError(
                f"{self.path}: stage {stage} is not complete; run: spectral-graph {stage} {self.path}"
            )

    def _known(self, name: str, value: Any, known: tuple[Any, ...]) -> None:
        if value not in known:
            raise ConfigError(f"`{name}={value!r}`: {self.path} has {', '.join(map(str, known))}")

    def _number(self, image: str | int) -> int:
        ids = [kept.id for kept in self.images]
        if isinstance(image, str):
            if image in ids:
                return ids.index(image)
            near = difflib.get_close_matches(image, ids, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; the first is {ids[0]}"
            raise ConfigError(f"`image={image!r}`: {self.path} has no image of this id{meant}")
        if not -len(ids) <= image < len(ids):
            raise ConfigError(f"`image={image}`: {self.path} has {len(ids)} images, numbered from 0")
        return int(image) % len(ids)

    def _store(self, kind: str) -> GraphStore:
        return GraphStore.open(self.path / kind / "graph.zarr")

    def _ortho(self, kind: str) -> Bank:
        self._require("orthogonalise", kind)
        return Bank.open(self.path / kind / "ortho", verify=False)


def open_run(path: str | Path) -> Run:
    """Open a run directory for reading.

    Raises:
        FormatError: there is no run, or it is damaged.
    """
    return Run(path)
