"""y = gain S x + shift x + keep y with a streamed operator, and the Chebyshev filter made of such steps."""

from __future__ import annotations

import numpy as np
import torch

from spectral_graph.graph.operator import BlockOperator
from spectral_graph.ops import chebyshev_step_
from spectral_graph.solve.streaming import borrow, chunks


def step(operator: BlockOperator, x: np.ndarray, y: np.ndarray, gain: float, shift: float, keep: float) -> None:
    """Set y to gain S x + shift x + keep y, block by block.

    Args:
        operator: S, N x N.
        x: (N, C) float32, C-contiguous.
        y: (N, C) float32, C-contiguous, not x; with keep 0 its content does not matter.
        gain: of S x.
        shift: of x.
        keep: of y.
    """
    rounds = operator.rounds
    if rounds > 1:
        # A node is in several blocks: its own terms are counted once, then every block adds its share.
        for rows in chunks(len(x)):
            own = torch.from_numpy(y[rows])
            (own.zero_() if keep == 0 else own.mul_(keep)).add_(borrow(x[rows]), alpha=shift)
        gain, shift, keep = gain / rounds, 0.0, 1.0
    for part in operator.blocks():
        source = borrow(x if part.columns is None else x[part.columns])
        target = y[part.rows]
        # Memory not written yet may hold NaN, which not even the factor 0 removes.
        own = torch.from_numpy(target) if rounds > 1 else borrow(x[part.rows])
        chebyshev_step_(*part.matrix, source, own, torch.from_numpy(target), gain, shift, keep, check=False)
        if not isinstance(part.rows, slice):
            y[part.rows] = target


def chebyshev_filter(
    operator: BlockOperator,
    current: np.ndarray,
    other: np.ndarray,
    lower: float,
    cut: float,
    top: float,
    degree: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the Chebyshev polynomial that damps [lower, cut], scaled to about 1 at `top`.

    Args:
        operator: S, N x N.
        current: (N, C) float32, the columns; lost.
        other: (N, C) float32, working space.
        lower: lower end of the damped interval, at or below the spectrum.
        cut: its upper end.
        top: the largest eigenvalue, above `cut`.
        degree: of the polynomial, at least 1.

    Returns:
        The array with the filtered columns, and the other one; they are `current` and `other` in some order.
    """
    centre, half = (lower + cut) / 2, (cut - lower) / 2
    sigma = first = half / (top - centre)
    step(operator, current, other, sigma / half, -centre * sigma / half, 0.0)
    before, current = current, other
    for _ in range(2, degree + 1):
        following = 1 / (2 / first - sigma)
        gain = 2 * following / half
        step(operator, current, before, gain, -centre * gain, -sigma * following)
        before, current = current, before
        sigma = following
    return current, before
