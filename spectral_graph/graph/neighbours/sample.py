"""Samples of the rows: what trains the cells, and the queries whose exact neighbours tell the recall."""

from __future__ import annotations

import numpy as np
import torch

from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.graph.neighbours.table import unit_rows_of

LEAST_IMAGES = 256
"""Images that a sample is spread over, if there are as many: to read a few rows of a Zarr chunk costs all of it."""


def sample_nodes(problem: SearchProblem, wanted: int, seed: int) -> np.ndarray:
    """Return at most `wanted` nodes, ascending, drawn from at least LEAST_IMAGES images."""
    generator = np.random.default_rng(seed)
    sizes = np.diff(problem.image_ptr)
    order = generator.permutation(len(sizes))
    total = np.cumsum(sizes[order])
    images = max(LEAST_IMAGES, int(np.searchsorted(total, 2 * wanted)) + 1)
    chosen = np.sort(order[:images])
    pool = np.concatenate([np.arange(problem.image_ptr[image], problem.image_ptr[image + 1]) for image in chosen])
    return np.sort(generator.choice(pool, min(wanted, len(pool)), replace=False))


def unit_sample(problem: SearchProblem, side: Side, nodes: np.ndarray) -> torch.Tensor:
    """Return the unit rows of those of the nodes that have length."""
    raw = torch.from_numpy(side.rows.read(nodes))
    unit, scales, _ = unit_rows_of(problem, side, raw, nodes, torch.zeros(raw.shape[1], 0))
    return unit[scales > 0]


def distinct(rows: torch.Tensor) -> torch.Tensor:
    """Return the first of each set of equal rows (n, d), as places in ascending order.

    A vector that occurs very often would otherwise decide alone what a projection keeps and where cells lie.
    """
    width, content = rows.shape[1] * rows.element_size(), rows.numpy().tobytes()
    first: dict[bytes, int] = {}
    for place in range(len(rows)):
        first.setdefault(content[place * width : (place + 1) * width], place)
    return torch.tensor(list(first.values()), dtype=torch.int64)
