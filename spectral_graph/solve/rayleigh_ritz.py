"""Rayleigh-Ritz on the span of a tall block, with residuals, in float64 where it matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from spectral_graph.solve.streaming import gram_matrix, random_rows, rotate_into

RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Round:
    """One round of filter and Rayleigh-Ritz.

    Attributes:
        index: number of the round, from 1.
        ritz: (K,) Ritz values, descending.
        residuals: (K,) norms of S x - ritz x for unit x.
        degree: of the filter; 0 where a warm start was only examined.
        filtered: how many columns it was applied to; the others had converged.
    """

    index: int
    ritz: np.ndarray
    residuals: np.ndarray
    degree: int
    filtered: int


def rayleigh_ritz(
    y: np.ndarray, sy: np.ndarray, out: np.ndarray, seed: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """Write the Ritz vectors of span(y) into `out` and return Ritz values (descending) and residuals, (K,) float64.

    With sy the stored product, |sy b - theta y b|^2 = b^T (sy^T sy) b - theta^2 for a unit Ritz vector y b: three Gram
    matrices give values and residuals, and only y is rotated.

    Args:
        y: (N, K) float32.
        sy: (N, K) float32, S y.
        out: (N, K) float32, unit columns; not y.
        seed: of the random columns that replace directions which y lacks.
        stream: number of the random stream.
    """
    gram = gram_matrix(y)
    lengths = np.sqrt(np.diag(gram))
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    weights, vectors = eigh(gram * np.outer(scale, scale))
    kept = weights > RANK_TOLERANCE * weights[-1]
    whiten = (scale[:, None] * vectors[:, kept]) / np.sqrt(weights[kept])
    inner = whiten.T @ gram_matrix(y, sy) @ whiten
    ritz, turn = eigh((inner + inner.T) / 2)
    ritz, basis = ritz[::-1], whiten @ turn[:, ::-1]
    squares = np.einsum("kc,kc->c", basis, gram_matrix(sy) @ basis) - ritz**2
    rank, width = basis.shape[1], y.shape[1]
    full = np.zeros((width, width))
    full[:, :rank] = basis
    rotate_into(y, full, out)
    values, residuals = np.empty(width), np.empty(width)
    values[:rank], residuals[:rank] = ritz, np.sqrt(np.maximum(squares, 0))
    if rank < width:
        # Lost directions start again from random vectors; their residual says that they are not found yet.
        fresh = np.empty((len(y), width - rank), np.float32)
        random_rows(fresh, seed, stream)
        out[:, rank:] = fresh / np.linalg.norm(fresh, axis=0)
        values[rank:], residuals[rank:] = values[rank - 1], 1.0
    return values, residuals
