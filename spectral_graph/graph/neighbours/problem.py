"""What one search is about, checked once, and how it goes through the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spectral_graph.errors import FeatureError, GraphError
from spectral_graph.graph.neighbours.rows import Rows

READ_ROWS = 8192
"""Rows read at a time, up to whole images."""


@dataclass(frozen=True)
class Side:
    """The queries or the keys.

    Attributes:
        name: "query" or "key", for messages.
        rows: the vectors.
        mean: (d,) float32, subtracted before normalising.
    """

    name: str
    rows: Rows
    mean: torch.Tensor

    def require_finite(self, inverse_norm: torch.Tensor, nodes: np.ndarray, image_ptr: np.ndarray) -> None:
        """Raise FeatureError where a scale of `unit_project` says that a row held NaN or infinity."""
        bad = torch.isnan(inverse_norm)
        if bool(bad.any()):
            node = int(nodes[int(bad.nonzero()[0])])
            image = int(np.searchsorted(image_ptr, node, side="right")) - 1
            raise FeatureError(
                f"{self.name} vector of node {node} (image {image}, its node {node - int(image_ptr[image])}) holds NaN "
                "or infinity; leave its image out"
            )


@dataclass(frozen=True)
class SearchProblem:
    """A search.

    Attributes:
        query: the queries.
        key: the keys; the very same object where they are not of their own.
        image_ptr: (images + 1,) int64.
        count: neighbours of a node.
        recall: asked for.
        threshold: least cosine that is kept.
        folder: for scratch files and the result.
        seed: of samples and k-means.
        report: called with rows done and rows in all.
    """

    query: Side
    key: Side
    image_ptr: np.ndarray
    count: int
    recall: float
    threshold: float
    folder: Path
    seed: int
    report: Callable[[int, int], None]

    @property
    def nodes(self) -> int:
        """Return the number of rows."""
        return int(self.image_ptr[-1])

    @property
    def images(self) -> np.ndarray:
        """Return (nodes,) int32, the image of every node."""
        return np.repeat(np.arange(len(self.image_ptr) - 1, dtype=np.int32), np.diff(self.image_ptr))

    def groups(self, most: int = READ_ROWS) -> Iterator[tuple[int, int]]:
        """Yield the rows begin to end of runs of whole images, of at most `most` rows unless one image has more."""
        begin = 0
        for start, end in zip(self.image_ptr[:-1].tolist(), self.image_ptr[1:].tolist(), strict=True):
            if end - begin > most and start > begin:
                yield begin, start
                begin = start
        if begin < self.nodes:
            yield begin, self.nodes


def make_problem(
    query: Rows,
    key: Rows | None,
    image_ptr: np.ndarray,
    count: int,
    recall: float,
    threshold: float,
    means: tuple[np.ndarray | None, np.ndarray | None],
    folder: Path,
    seed: int,
    report: Callable[[int, int], None] | None,
) -> SearchProblem:
    """Check the arguments of a search.

    Raises:
        GraphError: counts, bounds or `image_ptr` do not fit.
        FeatureError: the shapes of queries, keys and means do not fit each other.
    """
    starts = np.ascontiguousarray(image_ptr, np.int64)
    nodes = query.shape[0]
    if nodes == 0:
        raise GraphError("there are no nodes to find neighbours for; the data set has no readable image")
    if nodes > 2**31 - 1:
        raise GraphError(f"{nodes} nodes are more than a search can number, 2147483647; use fewer nodes")
    if starts.ndim != 1 or len(starts) < 2 or starts[0] != 0 or starts[-1] != nodes or (np.diff(starts) < 0).any():
        raise GraphError(
            f"image_ptr must ascend from 0 to the number of rows, {nodes}, got {starts[:1]} to {starts[-1:]}"
        )
    if count < 1:
        raise GraphError(f"a node must have at least 1 neighbour, got a count of {count}")
    if not 0 < recall < 1:
        raise GraphError(f"recall must lie between 0 and 1, got {recall:g}; for 1 choose the method exact")
    if not 0 <= threshold < np.inf:
        raise GraphError(f"threshold must be a finite number of at least 0, got {threshold:g}")
    sides = []
    for name, rows, mean in (("query", query, means[0]), ("key", query if key is None else key, means[1])):
        depth = query.shape[1]
        if rows.shape != query.shape:
            raise FeatureError(f"keys must have the shape of the queries, {query.shape}, got {rows.shape}")
        centre = np.zeros(depth, np.float32) if mean is None else np.ascontiguousarray(mean, np.float32)
        if centre.shape != (depth,) or not np.isfinite(centre).all():
            raise FeatureError(f"the mean of the {name} rows must be {depth} finite numbers, got shape {centre.shape}")
        sides.append(Side(name, rows, torch.from_numpy(centre)))
    if key is None:
        sides[1] = sides[0]
    return SearchProblem(
        sides[0], sides[1], starts, count, recall, threshold, folder, seed, report or (lambda done, total: None)
    )
