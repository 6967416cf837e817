"""A search as checked data: queries, keys and options; samples of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spectral_graph.errors import FeatureError, GraphError
from spectral_graph.node_rows import NodeRows, Which
from spectral_graph.ops import unit_project

READ_ROWS = 8192
"""Rows read at a time, up to whole images."""
LEAST_IMAGES = 256
"""Images that a sample is spread over, if there are as many: a few rows of a Zarr chunk cost as much as all of it."""


class Side:
    """The queries or the keys.

    Args:
        name: "query" or "key", for messages.
        rows: the vectors.
        mean: (d,), subtracted before normalising; None for none.
        image_ptr: (images + 1,) int64, first node of each image.

    Raises:
        FeatureError: the mean has another shape, or is not finite.
    """

    def __init__(self, name: str, rows: NodeRows, mean: np.ndarray | None, image_ptr: np.ndarray) -> None:
        depth = rows.shape[1]
        centre = np.zeros(depth, np.float32) if mean is None else np.ascontiguousarray(mean, np.float32)
        if centre.shape != (depth,) or not np.isfinite(centre).all():
            raise FeatureError(f"the mean of the {name} rows must be {depth} finite numbers, got shape {centre.shape}")
        self.name, self.rows, self.mean, self._image_ptr = name, rows, torch.from_numpy(centre), image_ptr

    def unit(self, which: Which, basis: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Read the rows of some nodes and return `project` of them."""
        return self.project(torch.from_numpy(self.rows.read(which)), which, basis)

    def project(
        self, raw: torch.Tensor, nodes: Which, basis: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return centred unit rows, their scales and their coordinates; see `spectral_graph.ops.unit_project`.

        Args:
            raw: (n, d) stored rows.
            nodes: their numbers.
            basis: (d, k) float32; None for no coordinates.

        Raises:
            FeatureError: a row holds NaN or infinity.
        """
        unit, scales, projected = unit_project(raw, self.mean, torch.zeros(raw.shape[1], 0) if basis is None else basis)
        bad = scales.isnan()
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            node = nodes.start + row if isinstance(nodes, slice) else int(nodes[row])
            image = int(np.searchsorted(self._image_ptr, node, side="right")) - 1
            raise FeatureError(
                f"{self.name} vector of node {node} (image {image}, its node {node - int(self._image_ptr[image])}) "
                "holds NaN or infinity; leave its image out"
            )
        return unit, scales, projected


@dataclass(frozen=True)
class SearchProblem:
    """A search.

    Attributes:
        query: the queries.
        key: the keys; the same object as `query` where they are the queries.
        image_ptr: (images + 1,) int64.
        count: neighbours of a node.
        recall: share of the true neighbours that an approximate method has to find.
        threshold: least cosine that is kept.
        folder: for scratch files and the result.
        seed: of samples and k-means.
        report: called with the work done and the total.

    Raises:
        GraphError: `count`, `recall`, `threshold` or `image_ptr` do not fit.
        FeatureError: queries and keys have different shapes.
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

    def __post_init__(self) -> None:
        """Check the values."""
        shape, starts = self.query.rows.shape, self.image_ptr
        nodes = shape[0]
        if nodes == 0:
            raise GraphError("there are no nodes to find neighbours for; the data set has no readable image")
        if nodes > 2**31 - 1:
            raise GraphError(f"{nodes} nodes are more than a search can number, 2147483647; use fewer nodes")
        if starts.ndim != 1 or len(starts) < 2 or starts[0] != 0 or starts[-1] != nodes or (np.diff(starts) < 0).any():
            raise GraphError(
                f"image_ptr must ascend from 0 to the number of rows, {nodes}, got {starts[:1]} to {starts[-1:]}"
            )
        if self.count < 1:
            raise GraphError(f"a node must have at least 1 neighbour, got a count of {self.count}")
        if not 0 < self.recall < 1:
            raise GraphError(f"recall must lie between 0 and 1, got {self.recall:g}; for 1 choose the method exact")
        if not 0 <= self.threshold < np.inf:
            raise GraphError(f"threshold must be a finite number of at least 0, got {self.threshold:g}")
        if self.key.rows.shape != shape:
            raise FeatureError(f"keys must have the shape of the queries, {shape}, got {self.key.rows.shape}")

    @property
    def symmetric(self) -> bool:
        """Whether the keys are the queries."""
        return self.key is self.query

    @property
    def nodes(self) -> int:
        """Number of rows."""
        return int(self.image_ptr[-1])

    @property
    def images(self) -> np.ndarray:
        """(nodes,) int32, the image of each node."""
        return np.repeat(np.arange(len(self.image_ptr) - 1, dtype=np.int32), np.diff(self.image_ptr))

    def groups(self, most: int | None = None) -> Iterator[slice]:
        """Yield ranges of rows of whole images, of at most `most` (READ_ROWS) rows unless one image has more."""
        begin, most = 0, READ_ROWS if most is None else most
        for start, end in zip(self.image_ptr[:-1].tolist(), self.image_ptr[1:].tolist(), strict=True):
            if end - begin > most and start > begin:
                yield slice(begin, start)
                begin = start
        if begin < self.nodes:
            yield slice(begin, self.nodes)

    def kept(self, columns: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return which neighbours found are kept: those of positive cosine of at least the threshold, in float32."""
        return (columns >= 0) & (values > 0) & (values >= torch.tensor(self.threshold, dtype=torch.float32))

    def sample(self, wanted: int, seed: int) -> np.ndarray:
        """Return at most `wanted` nodes, ascending, drawn from at least LEAST_IMAGES images."""
        generator = np.random.default_rng(seed)
        sizes = np.diff(self.image_ptr)
        order = generator.permutation(len(sizes))
        total = np.cumsum(sizes[order])
        images = max(LEAST_IMAGES, int(np.searchsorted(total, 2 * wanted)) + 1)
        chosen = np.sort(order[:images])
        pool = np.concatenate([np.arange(self.image_ptr[image], self.image_ptr[image + 1]) for image in chosen])
        return np.sort(generator.choice(pool, min(wanted, len(pool)), replace=False))


def unit_sample(side: Side, nodes: np.ndarray) -> torch.Tensor:
    """Return the unit rows of those of the nodes whose rows are not zero."""
    unit, scales, _ = side.unit(nodes)
    return unit[scales > 0]


def distinct(rows: torch.Tensor) -> torch.Tensor:
    """Return the index of the first of each set of equal rows (n, d), ascending.

    A vector that occurs very often would otherwise dominate the projection and the cells that are trained.
    """
    width, content = rows.shape[1] * rows.element_size(), rows.numpy().tobytes()
    first: dict[bytes, int] = {}
    for place in range(len(rows)):
        first.setdefault(content[place * width : (place + 1) * width], place)
    return torch.tensor(list(first.values()), dtype=torch.int64)
