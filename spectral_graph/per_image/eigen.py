"""Leading eigenvectors of the operator of one photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import ArpackError, eigsh

from spectral_graph.errors import ConfigError

LANCZOS_FROM = 3000
"""Nodes from which Lanczos is used. On two cores the dense method took 0.42 s for 2,304 nodes and Lanczos 0.76 s, for
3,996 nodes 2.7 s and 1.6 s. Below 1,000 nodes Lanczos saves 0.03 s and could miss one of several equal eigenvalues."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Eigenvectors of a photo, or their approximations by a solver.

    Attributes:
        vectors: (N, C) float64, orthonormal columns, leading first; the largest entry of each is positive.
        values: (C,) float64, their Rayleigh quotients, descending.
    """

    vectors: np.ndarray
    values: np.ndarray

    @classmethod
    def ordered(cls, values: np.ndarray, vectors: np.ndarray) -> Solution:
        """Return eigenpairs in descending order, each vector with its largest entry positive."""
        order = np.argsort(-values, kind="stable")
        vectors = vectors[:, order]
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
        return cls(np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0)), values[order])


def leading_eigenvectors(matrix: np.ndarray, count: int) -> Solution:
    """Return the eigenvectors of the `count` largest eigenvalues of a symmetric (N, N) float64 matrix.

    Raises:
        ConfigError: there are fewer nodes than eigenvectors.
    """
    nodes = len(matrix)
    require_nodes(nodes, count)
    if nodes >= LANCZOS_FROM and count < nodes // 4:
        try:
            start = np.random.default_rng(0).standard_normal(nodes)
            return Solution.ordered(*eigsh(matrix, count, which="LA", v0=start))
        except ArpackError:  # the dense method below needs no convergence
            pass
    return Solution.ordered(*eigh(matrix, subset_by_index=(nodes - count, nodes - 1)))


def require_nodes(nodes: int, count: int) -> None:
    """Raise ConfigError if there are fewer nodes than eigenvectors."""
    if count > nodes:
        raise ConfigError(
            f"`channels={count}`: the photo has {nodes} nodes at this `size`; choose at most {nodes}, or a larger size"
        )


def ritz(matrix: np.ndarray, basis: np.ndarray) -> Solution:
    """Return the Ritz vectors (Rayleigh-Ritz) of a symmetric (N, N) float64 matrix in the span of a basis (N, C)."""
    q, _ = np.linalg.qr(basis.astype(np.float64))
    values, rotation = np.linalg.eigh(q.T @ matrix @ q)
    return Solution.ordered(values, q @ rotation)
