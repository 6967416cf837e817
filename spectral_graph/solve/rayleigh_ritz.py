"""Rayleigh-Ritz on the span of a tall block, with residuals, in float64 where it matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_graph.one_thread import one_blas_thread
from spectral_graph.solve.columns import Array, Columns
from spectral_graph.solve.whitening import ritz


@dataclass(frozen=True)
class Round:
    """One round of filter and Rayleigh-Ritz.

    Attributes:
        index: number of the round, from 1.
        ritz: (K,) Ritz values, descending.
        residuals: (K,) norms of S x - ritz x for unit x.
        degree: of the filter; 0 where there was none: a warm start was only examined, or `dense`.
        filtered: how many columns it was applied to; the others had converged.
        dense: the operator is so small that its dense matrix was solved.
    """

    index: int
    ritz: np.ndarray
    residuals: np.ndarray
    degree: int
    filtered: int
    dense: bool = False


def rayleigh_ritz(
    columns: Columns, y: Array, sy: Array, out: Array, seed: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write the Ritz vectors of span(y) into `out` and return Ritz values (descending) and residuals, (K,) float64.

    With sy the stored product, |sy b - theta y b|^2 = b^T (sy^T sy) b - theta^2 for a unit Ritz vector y b: three Gram
    matrices give values and residuals, and only y is rotated.

    Args:
        columns: where the arrays live.
        y: (N, K) float32, of its rows those that this process holds, as in the others.
        sy: (N, K) float32, S y.
        out: (N, K) float32, unit columns; not y.
        seed: of the random columns that replace directions which y lacks.
        stream: number of the random stream.
    """
    width, comm = y.shape[1], columns.operator.comm
    squares = comm.sum(columns.grams(y, sy))
    with one_blas_thread():
        solution = _small_problem(*squares)
    # All processes continue with the bits of rank 0: their processors may round differently.
    full, values, residuals = map(comm.broadcast, solution)
    columns.rotate(y, full, out)
    rank = int(np.isfinite(values).sum())
    if rank < width:
        # Lost directions start again from random vectors; their residual says that they are not found yet.
        fresh = out[:, rank:]
        columns.random(fresh, seed, stream)
        # Whole numbers: the sums are exact.
        columns.divide(fresh, np.sqrt(comm.sum(columns.squares(fresh))).astype(np.float32))
        values[rank:], residuals[rank:] = values[rank - 1], 1.0
    return values, residuals


def _small_problem(
    gram: np.ndarray, product: np.ndarray, square: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve the (K, K) problem of Rayleigh-Ritz.

    Args:
        gram: Y^T Y.
        product: Y^T S Y.
        square: (S Y)^T S Y.

    Returns:
        Coefficients (K, K) of the Ritz vectors, Ritz values (K,) descending, and residuals (K,). Directions that Y
        lacks come last, with coefficients 0 and values NaN.
    """
    found, basis = ritz(gram, product)
    squares = np.einsum("kc,kc->c", basis, square @ basis) - found**2
    width, rank = basis.shape
    full, values, residuals = np.zeros((width, width)), np.full(width, np.nan), np.full(width, np.nan)
    full[:, :rank] = basis
    values[:rank], residuals[:rank] = found, np.sqrt(np.maximum(squares, 0))
    return full, values, residuals
