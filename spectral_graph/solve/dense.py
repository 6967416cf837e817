"""Eigenvectors of an operator that is small against the number wanted, from its dense matrix in float64.

A subspace iteration wants many more nodes than columns: where it holds nearly all directions, a filter leaves some of
them too short for float32, and what replaces them at random is never found.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from spectral_graph.errors import SolverError
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.one_thread import one_blas_thread
from spectral_graph.solve.rayleigh_ritz import Round

MOST_NODES = 4096
"""The matrix takes 134 MB then, and its eigenvectors as much again."""
SHARE = 0.5
"""Columns of the iteration, as a share of the nodes, from which on it is not used."""

NO_EDGES = 1e-6
"""An operator below it is taken for zero."""


def no_edges() -> SolverError:
    """Return the error for a graph whose operator is zero."""
    return SolverError(
        "the graph has no edges to embed; lower `threshold`, or raise `c_intra` and `c_inter`; vectors that are all "
        "equal have no neighbours once their mean is subtracted"
    )


def is_small(nodes: int, width: int) -> bool:
    """Return whether the dense matrix is solved instead of iterating `width` columns."""
    return nodes <= MOST_NODES and width >= SHARE * nodes


def dense_matrix(operator: BlockOperator) -> np.ndarray:
    """Return the operator as (N, N) float64, symmetric; all processes must call it together."""
    nodes, own, comm = operator.shape[0], operator.rows, operator.comm
    identity = np.zeros((len(own), nodes), np.float32)
    identity[np.arange(len(own)), own] = 1
    matrix = np.zeros((nodes, nodes))
    matrix[own.start : own.stop] = operator @ identity
    matrix = comm.sum(matrix)
    return (matrix + matrix.T) / 2


def dense_eigenvectors(operator: BlockOperator, width: int) -> tuple[np.ndarray, Round]:
    """Compute the eigenvectors of the `width` largest eigenvalues.

    Args:
        operator: N x N; all processes must call together.
        width: how many, at most N.

    Returns:
        (rows, width) float32, unit columns, of the rows that this process holds; and what is known about them.

    Raises:
        SolverError: the operator is zero.
    """
    matrix, nodes, comm = dense_matrix(operator), operator.shape[0], operator.comm
    if np.abs(matrix).max() < NO_EDGES:
        raise no_edges()
    # One thread: the sums of BLAS depend on how many there are.
    with one_blas_thread():
        values, vectors = eigh(matrix, subset_by_index=(nodes - width, nodes - 1))
    # All processes continue with the bits of rank 0: their processors may round differently.
    values, vectors = map(comm.broadcast, map(np.ascontiguousarray, (values[::-1], vectors[:, ::-1])))
    stored = vectors.astype(np.float32)
    wide = stored.astype(np.float64)
    with one_blas_thread():
        residuals = np.linalg.norm(matrix @ wide - wide * values, axis=0)
    return stored[operator.rows.start : operator.rows.stop], Round(1, values, residuals, 0, 0, dense=True)
