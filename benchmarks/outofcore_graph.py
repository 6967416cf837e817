"""A synthetic graph of any size, written block by block: images in scenes, and scenes in a row.

Each node has ten stored edges: four to the nodes beside it in its image, four to nodes of other images of its scene (of
40 images), and two, a thousand times weaker, to the same image of the scene before and of the one after; nine in the
first and in the last scene. No edge leads further than the next scene: the locality of videos, or of images ordered by
class. `scattered` moves that share of the edges that leave an image to random nodes of the whole set, the locality of
images in no order.

Every kind of edge is a bijection of the nodes, and the weight of an edge a hash of the node that it starts at: any rows
can be made by themselves, and the matrix is symmetric. Scenes are nearly closed: each gives an eigenvalue next to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.dataset_scope import plan_blocks
from spectral_graph.graph.merge import normalise

LINK = 1e-3
"""Weight of the edges between scenes, relative to the others."""
RIGHT, DOWN, NEAR, FAR, NEXT = range(5)
LEAVING = (NEAR, FAR, NEXT)
"""The kinds of edges that leave an image."""

Edges = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Columns (int64), weights (float64) and which of them exist (bool), one a row."""


@dataclass(frozen=True)
class Scenes:
    """The graph.

    Attributes:
        scenes: how many, at least 2.
        side: an image has side x side nodes; a power of two, at least 4.
        images: of a scene, at least 5.
        scattered: share of the edges that leave an image which lead anywhere; they take 24 bytes a node of memory.
        seed: of everything.
    """

    scenes: int
    side: int = 32
    images: int = 40
    scattered: float = 0.0
    seed: int = 0

    @property
    def nodes_per_image(self) -> int:
        """Nodes of an image."""
        return self.side**2

    @property
    def nodes(self) -> int:
        """Nodes altogether."""
        return self.scenes * self.images * self.nodes_per_image

    @cached_property
    def _ring(self) -> np.ndarray:
        """How many images further the edges NEAR and FAR lead in a scene, (2, scenes), never the same."""
        random, most = np.random.default_rng((self.seed, 0)), (self.images - 1) // 2
        near = random.integers(1, most + 1, self.scenes)
        return np.stack([near, (near - 1 + random.integers(1, most, self.scenes)) % most + 1])

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Factor, its inverse and shift of the map of an image's nodes to another's, (kinds, images) each."""
        random, shape = np.random.default_rng((self.seed, 1)), (len(LEAVING), self.scenes * self.images)
        factor = 2 * random.integers(0, self.nodes_per_image // 2, shape) + 1
        inverse = factor.copy()
        for _ in range(5):  # Newton's iteration doubles the right bits, three at first
            inverse = inverse * (2 - factor * inverse) % self.nodes_per_image
        return factor, inverse, random.integers(0, self.nodes_per_image, shape)

    @cached_property
    def _pairs(self) -> list[np.ndarray]:
        """Random perfect matchings of all nodes, (nodes,) int32 each."""
        found = []
        for index in range(2 * len(LEAVING) if self.scattered else 0):
            order = np.random.default_rng((self.seed, 2, index)).permutation(np.arange(self.nodes, dtype=np.int32))
            partner = np.empty_like(order)
            partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
            found.append(partner)
        return found

    def _weigh(self, begin: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of the edges of a kind that start at `begin`, and whether chance scatters them."""
        bits = begin.astype(np.uint64) * np.uint64(16) + np.uint64(kind)
        bits += np.uint64(self.seed << 40)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
            bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
        bits ^= bits >> np.uint64(31)
        weight = 0.2 + 0.8 * (bits & np.uint64(0xFFFFFF)).astype(np.float64) / 2**24
        chance = (bits >> np.uint64(40)).astype(np.float64) / 2**24
        return weight * (LINK if kind == NEXT else 1.0), chance < self.scattered

    def _there(self, kind: int, rows: np.ndarray, way: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where the edges of a kind lead from `rows` (way 1) or come from (way -1), and which exist."""
        image, node = np.divmod(rows, self.nodes_per_image)
        if kind in (RIGHT, DOWN):
            y, x = np.divmod(node, self.side)
            x, y = ((x + way) % self.side, y) if kind == RIGHT else (x, (y + way) % self.side)
            return image * self.nodes_per_image + y * self.side + x, np.ones(len(rows), bool)
        scene, place = np.divmod(image, self.images)
        if kind == NEXT:
            other, exists = image + way * self.images, (scene + way >= 0) & (scene + way < self.scenes)
            other = np.where(exists, other, image)
        else:
            other = scene * self.images + (place + way * self._ring[kind - NEAR][scene]) % self.images
            exists = np.ones(len(rows), bool)
        factor, inverse, shift = (part[kind - NEAR] for part in self._maps)
        node = node * factor[image] + shift[image] if way > 0 else (node - shift[other]) * inverse[other]
        return other * self.nodes_per_image + node % self.nodes_per_image, exists

    def _edges(self, rows: np.ndarray) -> Iterator[Edges]:
        for kind in (RIGHT, DOWN, *LEAVING):
            for way in (1, -1):
                columns, exists = self._there(kind, rows, way)
                weights, moved = self._weigh(rows if way > 0 else columns, kind)
                yield columns, weights, exists & ~moved if kind in LEAVING else exists
        for index, pairs in enumerate(self._pairs):
            columns = pairs[rows].astype(np.int64)
            weights, chosen = self._weigh(np.minimum(rows, columns), NEXT + 1 + index)
            yield columns, weights, chosen

    def degrees(self, start: int, stop: int) -> np.ndarray:
        """Return the sums of the rows start to stop, float32."""
        total = np.zeros(stop - start)
        for _, weights, exists in self._edges(np.arange(start, stop)):
            total += weights * exists
        return total.astype(np.float32)

    def rows(self, start: int, stop: int) -> csr_matrix:
        """Return the rows start to stop of A, float32, (stop - start, nodes), columns ascending."""
        edges = zip(*self._edges(np.arange(start, stop)), strict=True)
        columns, weights, exists = (np.stack(part, axis=1) for part in edges)
        columns[~exists] = self.nodes
        order = np.argsort(columns, axis=1)
        columns, weights, exists = (np.take_along_axis(part, order, 1) for part in (columns, weights, exists))
        indptr = np.concatenate([[0], np.cumsum(exists.sum(axis=1))])
        parts = weights[exists].astype(np.float32), columns[exists].astype(np.int32), indptr
        found = csr_matrix(parts, shape=(stop - start, self.nodes))
        found.sum_duplicates()
        return found


def write_graph(graph: Scenes, path: Path, block_nodes: int) -> tuple[GraphStore, int]:
    """Write D^-1/2 A D^-1/2 as merged blocks of scope `dataset`, as the stages `graph` and `solve` leave them.

    Args:
        graph: which.
        path: of the store.
        block_nodes: nodes of a block at most, whole images.

    Returns:
        The store, and the number of stored edges. Memory: a block, and 4 bytes a node.
    """
    image_ptr = np.arange(graph.scenes * graph.images + 1) * graph.nodes_per_image
    bounds = image_ptr[plan_blocks(image_ptr, block_nodes)].tolist()
    parts = list(pairwise(bounds))
    degrees = np.concatenate([graph.degrees(start, stop) for start, stop in parts])
    store = GraphStore.create(path, {"nodes": graph.nodes, "rounds": 1, "scope": "dataset"})
    edges = 0
    for index, (start, stop) in enumerate(parts):
        rows = graph.rows(start, stop)
        columns, places = local_columns(rows.indices, graph.nodes)
        own = degrees[start:stop]
        block = Block(np.arange(start, stop), rows.indptr.astype(np.int64), places, rows.data, own, {}, columns)
        values = normalise(block, "symmetric", degrees[columns]).astype(np.float32)
        merged = Block(block.rows, block.indptr, places, values, None, {"normalisation": "symmetric"}, columns)
        store.write(f"merged/symmetric/{index:06d}", merged)
        edges += rows.nnz
    return store, edges
