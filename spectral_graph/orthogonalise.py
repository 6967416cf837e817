"""Reorthogonalisation of the bank (Eqn. 8 of the paper), streamed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.linalg import eigh

from spectral_graph.bank import Bank
from spectral_graph.errors import SolverError
from spectral_graph.solve.streaming import chunks, gram_matrix, rotate_into, scratch

Order = Literal["gram", "ritz"]
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Orthogonalised:
    """What is known about X_ortho.

    Attributes:
        eigenvalues: (C,) float64 descending: of X^T X (order "gram"), or Ritz values of the operator ("ritz").
        off_diagonal: largest |X_ortho^T X_ortho| off the diagonal, relative to its largest diagonal entry.
    """

    eigenvalues: np.ndarray
    off_diagonal: float


def orthogonalise(
    source: np.ndarray,
    target: Bank,
    order: Order,
    apply: Callable[[np.ndarray, np.ndarray], None],
    work: Path,
) -> Orthogonalised:
    """Write X_ortho = X U as the next generation of `target`, not yet committed.

    Args:
        source: X (N, C) float32.
        target: bank of shape (N, C) with the array X.
        order: "gram": U are the eigenvectors of X^T X, columns by decreasing eigenvalue (Eqn. 8; the columns keep
            their length, the square root of the eigenvalue). "ritz": orthonormal columns by decreasing Rayleigh
            quotient of the operator within span(X).
        apply: writes the product of the operator with its first argument into its second (used by "ritz").
        work: folder for working space.

    Returns:
        Eigenvalues and the remaining error. The sign of a column makes its entry of largest magnitude positive.

    Raises:
        SolverError: X holds NaN or infinity.
    """
    gram = gram_matrix(source)
    if not np.isfinite(gram).all():
        raise SolverError("the bank holds NaN or infinity; recompute with --force solve")
    weights, vectors = eigh(gram)
    weights, vectors = weights[::-1], vectors[:, ::-1]
    if order == "gram":
        eigenvalues, u = np.maximum(weights, 0), vectors
    else:
        kept = weights > RANK_TOLERANCE * weights[0]
        whiten = vectors[:, kept] / np.sqrt(weights[kept])
        with scratch(work, (source.shape[0], source.shape[1]), 1) as (product,):
            apply(source, product)
            inner = whiten.T @ gram_matrix(source, product) @ whiten
        ritz, turn = eigh((inner + inner.T) / 2)
        u = np.zeros_like(gram)
        u[:, : kept.sum()] = whiten @ turn[:, ::-1]
        eigenvalues = np.zeros(len(weights))
        eigenvalues[: kept.sum()] = ritz[::-1]
    out = target.begin()["X"]
    rotate_into(source, u, out)
    _fix_signs(out)
    square = gram_matrix(out)
    largest = float(np.diag(square).max())
    off = float(np.abs(square - np.diag(np.diag(square))).max()) / largest if largest > 0 else 0.0
    return Orthogonalised(eigenvalues, off)


def _fix_signs(x: np.ndarray) -> None:
    best = np.zeros(x.shape[1], np.float32)
    for rows in chunks(len(x)):
        part = np.asarray(x[rows])
        entry = part[np.abs(part).argmax(axis=0), np.arange(x.shape[1])]
        best = np.where(np.abs(entry) > np.abs(best), entry, best)
    sign = np.where(best < 0, np.float32(-1), np.float32(1))
    for rows in chunks(len(x)):
        x[rows] *= sign
