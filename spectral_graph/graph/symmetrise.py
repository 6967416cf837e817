"""Rows of A = (B + B^T) / 2 out of the same rows of B and of B^T."""

from __future__ import annotations

import numpy as np

from spectral_graph.graph.lists import Lists


def symmetrise_rows(forward: Lists, backward: Lists, nodes: int) -> Lists:
    """Return the rows of A; the values are those of `spectral_graph.ops.csr_symmetrise`, bit by bit.

    A float32 sum is the float64 sum rounded (float64 has more than twice the digits), and halving is exact.

    Args:
        forward: rows of B, each column at most once.
        backward: the same rows of B^T.
        nodes: number of columns.
    """
    total = Lists.of(forward.matrix(nodes) + backward.matrix(nodes))
    return Lists(total.indptr, total.indices, total.values * np.float32(0.5))


def row_sums(lists: Lists) -> np.ndarray:
    """Return the sums (n,) float32 of the rows, added up in float64 in an order that the row alone decides."""
    sums = np.zeros(len(lists.counts))
    filled = np.flatnonzero(lists.counts)
    if len(filled):
        sums[filled] = np.add.reduceat(lists.values, lists.indptr[filled], dtype=np.float64)
    return sums.astype(np.float32)


def scaled(lists: Lists, first: int, d: np.ndarray) -> Lists:
    """Return rows of D A D; a value and its mirror image stay the same, bit by bit.

    Args:
        lists: rows of A.
        first: global node of the first row.
        d: (nodes,) float64.
    """
    factor = d[first + lists.row_of_entry] * d[lists.indices]
    return Lists(lists.indptr, lists.indices, (lists.values * factor).astype(np.float32))
