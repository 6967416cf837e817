"""The paper's solver for one photo: Adam on Eqn. 4, where every head of every layer is a graph.

With u the columns of X (N, C) scaled to unit length, and S_a the symmetric part of D^-1 A of graph a (or its other
normalisation, see `operator.MergedAttention`),

    loss = mean over graphs and channels of |u_c^T g_a^T S_a g_a u_c - 1|  +  || X^T X / N - I ||_F

X^T X is divided by N because X starts as N(0, 1) noise, as in `spectral_graph.solve.objective`. As S_a is symmetric,
one product S_a g_a u gives both value and gradient. All S_a of the photo are held in memory, m n^2 float32: this is the
price of the method, which the merged operator does not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from spectral_graph.errors import SolverError
from spectral_graph.features.model import Extraction, LayerInfo
from spectral_graph.grid_map import Grid, scaled_grid_map
from spectral_graph.ops import adam_rows_
from spectral_graph.per_image.operator import Normalisation, head_graph, heads_of
from spectral_graph.solve.streaming import normal_rows

_STREAM = 5
"""Number of the random stream of X, different from those of other solvers."""


@dataclass(frozen=True, eq=False)
class HeadGraphs:
    """Every head of every layer of one photo as a dense graph.

    Attributes:
        parts: for each grid, S of its m graphs one below the other, (m * n, n) float32, and g (n, N) float64 from the
            photo's grid, None where it is the same.
        count: number of all graphs.
    """

    parts: list[tuple[Tensor, sparse.csr_array | None]]
    count: int

    @classmethod
    def of(
        cls, extraction: Extraction, row: int, layers: Sequence[LayerInfo], normalisation: Normalisation
    ) -> HeadGraphs:
        """Build the graphs of the photo at `row` on the device of its features, and keep them on the CPU."""
        by_grid: dict[Grid, list[Tensor]] = {}
        for grid, q, k in heads_of(extraction, row, layers):
            by_grid.setdefault(grid, []).append(head_graph(q, k, normalisation).cpu())
        parts = [(torch.cat(found), scaled_grid_map(extraction.grid, grid)) for grid, found in by_grid.items()]
        return cls(parts, sum(map(len, by_grid.values())))


def loss_and_gradient(graphs: HeadGraphs, x: Tensor) -> tuple[float, Tensor]:
    """Return Eqn. 4 at x (N, C) float32, and its gradient (N, C) float32."""
    nodes, channels = x.shape
    norm = x.norm(dim=0)
    u = x / norm
    by_u = torch.zeros_like(u)
    distance = 0.0
    for stacked, g in graphs.parts:
        on_grid = u if g is None else _resampled(g, u)
        product = (stacked @ on_grid).view(-1, *on_grid.shape)
        residual = (product * on_grid).sum(dim=1) - 1
        distance += float(residual.abs().sum())
        slope = (product * residual.sign()[:, None]).sum(dim=0)
        by_u += slope if g is None else _resampled(g.T, slope)
    terms = graphs.count * channels
    by_u *= 2 / terms
    gradient = (by_u - u * (u * by_u).sum(dim=0)) / norm
    departure = x.T @ x / nodes - torch.eye(channels)
    frobenius = departure.norm()
    if frobenius > 0:
        gradient += x @ departure * (2 / (nodes * frobenius))
    return distance / terms + float(frobenius), gradient


def _resampled(g: sparse.sparray, rows: Tensor) -> Tensor:
    return torch.from_numpy((g @ rows.numpy()).astype(np.float32))


def adam(
    graphs: Callable[[int], HeadGraphs],
    nodes: int,
    channels: int,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    reuse: float = 1.0,
) -> np.ndarray:
    """Return X (N, C) float32 that minimises Eqn. 4 by Adam (betas 0.9 and 0.999), starting from N(0, 1).

    Args:
        graphs: draw number -> the photo's graphs; draw 0 is the first.
        nodes: N.
        channels: C.
        steps: number of steps.
        learning_rate: of Adam.
        seed: of X, and of the steps that take a new draw.
        reuse: probability that a step keeps the graphs of the step before; 1 for models without noise.

    Raises:
        SolverError: X is no longer finite.
    """
    start = np.empty((nodes, channels), np.float32)
    normal_rows(start, seed, _STREAM)
    x = torch.from_numpy(start)
    m, v = torch.zeros_like(x), torch.zeros_like(x)
    fresh = np.random.default_rng([seed, _STREAM]).random(steps) >= reuse
    current, draw = graphs(0), 0
    for step in range(1, steps + 1):
        if step > 1 and fresh[step - 1]:
            draw += 1
            current = graphs(draw)
        _, gradient = loss_and_gradient(current, x)
        adam_rows_(x, m, v, gradient, torch.full((nodes,), step), learning_rate)
    if not bool(x.isfinite().all()):
        raise SolverError(f"adam diverged: X is not finite; lower `learning_rate={learning_rate:g}`")
    return x.numpy()
