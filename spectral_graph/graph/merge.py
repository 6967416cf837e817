"""All layers of a mini-batch merged into one sparse symmetric operator (finding 2 of the design)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

from spectral_graph.graph.blocks import Block

Normalisation = Literal["symmetric", "random_walk"]


def inverse_degree(degree: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Return degree^-power as float64; 0 for nodes without edges."""
    out = np.zeros(len(degree))
    positive = degree > 0
    out[positive] = degree[positive].astype(np.float64) ** -power
    return out


def normalise(block: Block, normalisation: Normalisation) -> np.ndarray:
    """Return the stored values (nnz,) float64 of the normalised graph.

    symmetric: D^-1/2 A D^-1/2 (normalised cut, spectrum within [-1, 1]).
    random_walk: (D^-1 A + A D^-1) / 2, the symmetric part of the random walk matrix of Eqn. 3: it has the same
    quadratic form u^T D^-1 A u.
    """
    assert block.degree is not None
    rows = np.repeat(np.arange(len(block.rows)), np.diff(block.indptr))
    if normalisation == "symmetric":
        scale = inverse_degree(block.degree, 0.5)
        return block.values * scale[rows] * scale[block.indices]
    scale = inverse_degree(block.degree)
    return block.values * (0.5 * (scale[rows] + scale[block.indices]))


def merge_layers(blocks: Sequence[Block], normalisation: Normalisation) -> Block:
    """Return the mean over layers of the normalised graphs of one mini-batch.

    Args:
        blocks: one block a layer, all over the same nodes.
        normalisation: see `normalise`.
    """
    first = blocks[0]
    n = len(first.rows)
    total = csr_matrix((n, n))
    for block in blocks:
        total = total + csr_matrix((normalise(block, normalisation), block.indices, block.indptr), shape=(n, n))
    total.sort_indices()
    return Block(
        rows=first.rows,
        indptr=total.indptr.astype(np.int64),
        indices=total.indices.astype(np.int32),
        values=(total.data / len(blocks)).astype(np.float32),
        degree=None,
        facts={"layers": len(blocks), "normalisation": normalisation},
    )
