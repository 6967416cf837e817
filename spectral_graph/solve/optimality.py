"""Optimality of a solution: the value of Eqn. 3 that it reaches, and its angles to the exact solution.

Eqn. 3 asks for orthonormal columns X that maximise the mean over graphs of X^T D^-1 A X. As a number this is the trace,
here divided by the number of channels: the same for every basis of span(X). D^-1 A may be replaced by its symmetric
part, which has the same quadratic form; then the largest value is the mean of the C largest eigenvalues of the merged
`random_walk` operator (K. Fan, "On a theorem of Weyl concerning eigenvalues of linear transformations", 1949,
https://doi.org/10.1073/pnas.35.11.652).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import eigh

from spectral_graph.graph.operand import require_columns
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.solve.streaming import gram_matrix, scratch

RANK_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Exact:
    """The exact solution of Eqn. 3.

    Attributes:
        vectors: (N, C) float32, may be memory-mapped; its columns span the solution.
        eigenvalues: (C,) descending.
    """

    vectors: np.ndarray
    eigenvalues: np.ndarray


@dataclass(frozen=True)
class Measured:
    """How good a solution is.

    Attributes:
        value: of Eqn. 3 at the orthonormalised columns, divided by C; columns that depend on others count as 0.
        optimum: its largest value, None where the exact solution was not computed.
        overlap: mean of the squared cosines of the principal angles to the exact solution: the share of the exact
            subspace that was found; None as above.
        angles: (C,) those angles in degrees, ascending; None as above.
    """

    value: float
    optimum: float | None = None
    overlap: float | None = None
    angles: tuple[float, ...] | None = None

    def as_notes(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def measure(operator: BlockOperator, x: np.ndarray, work: Path, exact: Exact | None = None) -> Measured:
    """Measure a solution.

    Args:
        operator: the merged operator with normalisation `random_walk`.
        x: (N, C) float32, may be memory-mapped; any basis of its span gives the same. Of its rows those that this
            process holds, as in `exact`.
        work: folder for a memory-mapped array of the size of x.
        exact: the exact solution, if known.

    Raises:
        GraphError: x does not hold the rows of this process.
    """
    require_columns("the solution X", x, len(operator.rows))
    channels, comm = x.shape[1], operator.comm
    whiten = whitening(comm.sum(gram_matrix(x)))
    with scratch(comm.folder(work), (x.shape[0], channels), 1) as (product,):
        operator.apply(x, product)
        value = float(np.trace(whiten.T @ comm.sum(gram_matrix(x, product)) @ whiten)) / channels
    if exact is None:
        return Measured(value)
    other = whitening(comm.sum(gram_matrix(exact.vectors)))
    cosines = np.linalg.svd(whiten.T @ comm.sum(gram_matrix(x, exact.vectors)) @ other, compute_uv=False)
    cosines = np.r_[np.clip(cosines, 0, 1), np.zeros(channels - len(cosines))]
    angles = tuple(np.degrees(np.arccos(np.sort(cosines)[::-1])).tolist())
    return Measured(value, float(np.mean(exact.eigenvalues)), float(np.mean(np.square(cosines))), angles)


def whitening(square: np.ndarray) -> np.ndarray:
    """Return W (C, rank) such that X W has orthonormal columns that span X, from X^T X (C, C) float64."""
    # Columns may differ by decades in length: the rank is judged at unit length.
    scale = 1 / np.sqrt(np.maximum(np.diag(square), np.finfo(np.float64).tiny))
    weights, vectors = eigh(square * np.outer(scale, scale))
    kept = weights > RANK_TOLERANCE * weights[-1]
    return np.asarray((scale[:, None] * vectors[:, kept]) / np.sqrt(weights[kept]))
