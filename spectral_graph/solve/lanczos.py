"""What a few Lanczos steps tell about a spectrum: bounds, and how many eigenvalues lie above a value.

Sources: Y. Zhou, R.-C. Li, "Bounding the spectrum of large Hermitian matrices", Linear Algebra Appl. 435 (2011),
https://doi.org/10.1016/j.laa.2010.06.034; L. Lin, Y. Saad, C. Yang, "Approximating spectral densities of large
matrices", SIAM Review 58 (2016), https://doi.org/10.1137/130934283 (section 3.2.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from spectral_graph.distributed.comm import Comm
from spectral_graph.one_thread import one_blas_thread
from spectral_graph.solve.recurrence import Operator
from spectral_graph.solve.streaming import random_rows

STEPS = 10
MARGIN = 0.03
"""By which share of the width the lower bound is moved further down: the last Ritz value may not have arrived yet."""
BREAKDOWN = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """An estimate of a spectrum.

    Attributes:
        lower: lower bound.
        upper: upper bound.
        values: places of the estimated density, descending.
        counts: how many eigenvalues lie above each place.
    """

    lower: float
    upper: float
    values: list[float]
    counts: list[float]

    def value_at(self, count: float) -> float:
        """Return the value above which about `count` eigenvalues lie."""
        return float(self.values_at(np.array([count]))[0])

    def values_at(self, counts: np.ndarray) -> np.ndarray:
        """Return the values above which about `counts` eigenvalues lie, (n,) float64."""
        return np.interp(np.log(np.maximum(counts, 1e-9)), np.log(self.counts), self.values)


def estimate_spectrum(operator: Operator, seed: int, steps: int = STEPS) -> Spectrum:
    """Estimate bounds and density from `steps` products with one vector.

    Args:
        operator: N x N, symmetric.
        seed: of the vector.
        steps: at most N are made.
    """
    n, comm = operator.shape[0], operator.comm
    start = np.empty((len(operator.rows), 1), np.float32)
    random_rows(start, seed, 1, operator.rows.start)
    # The entries are whole numbers, so their sum of squares is exact, however many processes share it.
    v = start[:, 0] / np.float32(_dot(start[:, 0], start[:, 0], comm) ** 0.5)
    before = np.zeros_like(v)
    alpha: list[float] = []
    beta: list[float] = []
    # The steps are few: the basis needs no orthogonalisation beyond the recurrence, and is not kept.
    for _ in range(min(steps, n)):
        w = operator @ v
        alpha.append(_dot(w, v, comm))
        w -= np.float32(alpha[-1]) * v
        w -= np.float32(beta[-1] if beta else 0.0) * before
        beta.append(_dot(w, w, comm) ** 0.5)
        if beta[-1] < BREAKDOWN:
            break
        before, v = v, w / np.float32(beta[-1])
    with one_blas_thread():
        solution = eigh_tridiagonal(alpha, beta[: len(alpha) - 1])
    # All processes continue with the bits of rank 0: their processors may round differently.
    ritz, vectors = map(comm.broadcast, solution)
    residuals = beta[-1] * np.abs(vectors[-1])
    lower, upper = float(ritz[0] - residuals[0]), float(ritz[-1] + residuals[-1])
    # Gauss quadrature: a node stands for its weight, half of which lies above it.
    weights = n * vectors[0, ::-1] ** 2
    counts = np.maximum(np.cumsum(weights) - weights / 2, 1e-9)
    return Spectrum(lower - MARGIN * (upper - lower), upper, ritz[::-1].tolist(), counts.tolist())


def _dot(a: np.ndarray, b: np.ndarray, comm: Comm) -> float:
    """Return a . b, summed in float64 by one thread in a fixed order, and over the processes."""
    return float(comm.sum(np.einsum("n,n->", a, b, dtype=np.float64)))
