"""Orthonormal bases of the span of tall columns, from their Gram matrices, in float64."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

RANK_TOLERANCE = 1e-12
"""Directions whose share of the largest one is at most this, of columns of unit length, count as dependent."""


def whitening(square: np.ndarray) -> np.ndarray:
    """Return W (C, rank) such that X W has orthonormal columns that span X, from X^T X (C, C) float64.

    Columns may differ by decades in length: the rank is decided at unit length. A column of zeros adds nothing.
    """
    lengths = np.sqrt(np.diag(square))
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    weights, vectors = eigh(square * np.outer(scale, scale))
    kept = weights > RANK_TOLERANCE * weights[-1]
    return np.asarray((scale[:, None] * vectors[:, kept]) / np.sqrt(weights[kept]))


def ritz(square: np.ndarray, product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Ritz values (rank,), descending, of a symmetric S in span(X), and coefficients (C, rank) float64.

    X times the coefficients are the Ritz vectors, orthonormal.

    Args:
        square: X^T X (C, C).
        product: X^T S X (C, C).
    """
    basis = whitening(square)
    inner = basis.T @ product @ basis
    values, turn = eigh((inner + inner.T) / 2)
    return values[::-1], basis @ turn[:, ::-1]
