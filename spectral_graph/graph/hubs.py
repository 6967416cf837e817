"""Ways to take weight from hubs: nodes that are among the nearest neighbours of very many others.

Each works on the directed neighbour lists of a range of rows, so it needs no more memory than that and numbers a node.

- mutual: a neighbour counts only if it has chosen back.
- cap: of those that chose a node only the nearest are kept.
- csls: local scaling of the similarity (A. Conneau et al., "Word translation without parallel data", 2018, section 2.3,
  https://arxiv.org/abs/1710.04087): neighbours are chosen by 2 s_ij - r_i - r_j, where r_j is the mean similarity of j
  with its nearest nodes, large for a hub. r_i is the same for all neighbours of i and needs no look.
- sinkhorn: D A D with all row sums near 1 (R. Sinkhorn and P. Knopp, 1967, in the symmetric form of P. A. Knight,
  D. Ruiz, B. Ucar, "A symmetry preserving algorithm for matrix scaling", 2014, https://doi.org/10.1137/110825753): the
  edges of a hub lose the weight that they have too much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from spectral_graph.graph.csr_rows import CsrRows

Hubs = Literal["none", "mutual", "cap", "csls", "sinkhorn"]
CANDIDATES = 2
"""How many times c candidates are searched where csls chooses among them."""
BALANCE_ROUNDS = 20


def rank_in_row(lists: CsrRows, score: np.ndarray) -> np.ndarray:
    """Return the rank (nnz,) of each entry in its row by descending score (nnz,), of equal ones the lower column."""
    rows = lists.row_of_entry
    order = np.lexsort((-score, rows))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - lists.indptr[:-1][rows]
    return rank


def keep_best(lists: CsrRows, count: int) -> CsrRows:
    """Return the `count` largest values of each row."""
    return lists.where(rank_in_row(lists, lists.values) < count)


def keep_common(lists: CsrRows, other: CsrRows, nodes: int) -> CsrRows:
    """Return the entries of `lists` whose position is also stored in `other`, the same rows."""
    mine = CsrRows(lists.indptr, lists.indices, np.ones(len(lists.indices), np.int8))
    theirs = CsrRows(other.indptr, other.indices, np.full(len(other.indices), 2, np.int8))
    both = CsrRows.from_scipy(mine.to_scipy(nodes) + theirs.to_scipy(nodes))
    return lists.where(both.values[both.values != 2] == 3)


def mean_of_best(lists: CsrRows, count: int) -> np.ndarray:
    """Return the mean (n,) float64 of the `count` largest values of each row, of all if they are fewer; 0 of none."""
    best = keep_best(lists, count)
    total = np.bincount(best.row_of_entry, weights=best.values, minlength=len(best.counts))
    return total / np.maximum(best.counts, 1)


def choose_scaled(
    lists: CsrRows, own: np.ndarray, scales: tuple[np.ndarray, np.ndarray], counts: tuple[int, int]
) -> CsrRows:
    """Choose neighbours among candidates by CSLS, inside and outside the own image each for itself.

    Args:
        lists: the candidates.
        own: (nnz,) bool: the candidate is of the same image.
        scales: r_j of each node (nodes,) float64, among the nodes of its image and among those of others.
        counts: how many neighbours inside and outside the own image.

    Returns:
        Those chosen, with the similarities that they came with.
    """
    chosen = np.zeros(len(own), bool)
    for part, scale, count in zip((own, ~own), scales, counts, strict=True):
        candidates = lists.where(part)
        score = 2 * candidates.values.astype(np.float64) - scale[candidates.indices]
        chosen[part] = rank_in_row(candidates, score) < count
    return lists.where(chosen)


def balance(product: Callable[[np.ndarray], np.ndarray], degree: np.ndarray) -> np.ndarray:
    """Return d (nodes,) float64 such that the row sums of D A D come near 1; 0 for nodes without edges.

    Args:
        product: gives A x for x (nodes,) float64; A is symmetric and not negative.
        degree: row sums of A.
    """
    alive = degree > 0
    d = np.zeros(len(degree))
    d[alive] = degree[alive].astype(np.float64) ** -0.5
    for _ in range(BALANCE_ROUNDS):
        d[alive] = np.sqrt(d[alive] / product(d)[alive])
    return d
