"""Optimality of a solution: the value of Eqn. 3 that it reaches, and its angles to the exact solution.

Eqn. 3 asks for orthonormal columns X that maximise the mean over graphs of X^T D^-1 A X. As a number this is the trace,
here divided by the number of channels: the same for every basis of span(X). D^-1 A may be replaced by its symmetric
part, which has the same quadratic form; then the largest value is the mean of the C largest eigenvalues of the merged
`random_walk` operator (K. Fan, "On a theorem of Weyl concerning eigenvalues of linear transformations", 1949,
https://doi.org/10.1073/pnas.35.11.652).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.solve.streaming import gram_matrix
from spectral_graph.solve.whitening import whitening


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


def measure(x: np.ndarray, form: np.ndarray, comm: Comm = ONE_PROCESS, exact: Exact | None = None) -> Measured:
    """Measure a solution.

    Args:
        x: (N, C) float32, may be memory-mapped; any basis of its span gives the same. Of its rows those that this
            process holds, as in `exact`.
        form: (C, C) float64, X^T W X with the mean W of the random walk matrices, of all rows: `random_walk_form`.
        comm: the processes that hold the rows.
        exact: the exact solution, if known.
    """
    channels = x.shape[1]
    whiten = whitening(comm.sum(gram_matrix(x)))
    value = float(np.trace(whiten.T @ form @ whiten)) / channels
    if exact is None:
        return Measured(value)
    other = whitening(comm.sum(gram_matrix(exact.vectors)))
    cosines = np.linalg.svd(whiten.T @ comm.sum(gram_matrix(x, exact.vectors)) @ other, compute_uv=False)
    cosines = np.r_[np.clip(cosines, 0, 1), np.zeros(channels - len(cosines))]
    angles = tuple(np.degrees(np.arccos(np.sort(cosines)[::-1])).tolist())
    return Measured(value, float(np.mean(exact.eigenvalues)), float(np.mean(np.square(cosines))), angles)
