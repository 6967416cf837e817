"""Resampling between grids as a sparse matrix: the paper's g (section 3.1), which scales X to the size of a layer.

`grid_map(fine, coarse) @ x` brings rows on a fine grid to a coarse one; `grid_map(coarse, fine)` the other way.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import sparse

from spectral_graph.errors import GraphError

Mode = Literal["bilinear", "area"]
Grid = tuple[int, int]


def grid_map(source: Grid, target: Grid, mode: Mode = "bilinear") -> sparse.csr_array:
    """Return the linear map from the nodes of one grid to those of another.

    Args:
        source: (h, w) of the grid that rows are given on.
        target: (h, w) of the grid that rows are wanted on.
        mode: ``bilinear``: centres of cells aligned, borders repeated, no smoothing, as torch's `interpolate` without
            `align_corners` and `antialias` (the paper's text); ``area``: the mean over the source cells that a target
            cell touches, as torch's `adaptive_avg_pool2d` (the paper's released code).

    Returns:
        (target nodes, source nodes) float32 with int32 indices, rows sorted; both grids row by row. Every row sums
        to 1. Its transpose is the adjoint.

    Raises:
        GraphError: a grid without a node, or an unknown mode.
    """
    for name, grid in (("source", source), ("target", target)):
        if min(grid) < 1:
            raise GraphError(f"{name} grid {grid[0]} x {grid[1]} has no node; give 1 or more for both sides")
    if mode not in _AXES:
        raise GraphError(f"mode {mode!r} is unknown; use bilinear or area")
    axis = _AXES[mode]
    rows, columns = (axis(source[i], target[i]) for i in (0, 1))
    product = sparse.csr_array(sparse.kron(rows, columns, format="csr"))
    product.sort_indices()
    # The other type would be int64 only for grids of more than 2^31 entries.
    return sparse.csr_array(
        (product.data.astype(np.float32), product.indices.astype(np.int32), product.indptr.astype(np.int32)),
        shape=product.shape,
    )


def scaled_grid_map(bank: Grid, grid: Grid, mode: Mode = "bilinear") -> sparse.csr_array | None:
    """Return g from the grid of X to the grid of a layer, (n, N) float64; None where both are one grid.

    It is scaled by sqrt(N / n), so that a smooth column of length 1 keeps about that length and u^T D^-1 A u of every
    graph can come as near to 1 as Eqn. 4 wants it, however coarse the layer.

    Args:
        bank: (h, w) of X.
        grid: (h, w) of the layer.
        mode: see `grid_map`.
    """
    if bank == grid:
        return None
    ratio = math.sqrt(bank[0] * bank[1] / (grid[0] * grid[1]))
    return sparse.csr_array(grid_map(bank, grid, mode).astype(np.float64) * ratio)


def map_of_nodes(g: sparse.csr_array, nodes: np.ndarray) -> sparse.csr_array:
    """Return the rows of kron(I, g) that belong to some nodes of a layer.

    Args:
        g: (n, N) map of one image, from `grid_map` or `scaled_grid_map`.
        nodes: (m,) node numbers of the layer over all images: node c of image i is i * n + c.

    Returns:
        (m, images * N), where the last image is that of the largest node; dtype of `g`, rows sorted.
    """
    image, cell = np.divmod(np.asarray(nodes, np.int64), g.shape[0])
    rows = g[cell]
    images = int(image.max(initial=-1)) + 1
    columns = rows.indices + np.repeat(image * g.shape[1], np.diff(rows.indptr))
    return sparse.csr_array((rows.data, columns, rows.indptr), shape=(len(image), images * g.shape[1]))


def _bilinear(source: int, target: int) -> sparse.csr_array:
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = np.minimum(np.floor(centre).astype(np.int64), source - 1)
    upper = np.minimum(lower + 1, source - 1)
    share = centre - lower
    index = np.arange(target)
    weights = np.concatenate([1 - share, share])
    matrix = sparse.coo_array(
        (weights, (np.concatenate([index, index]), np.concatenate([lower, upper]))), shape=(target, source)
    ).tocsr()
    matrix.eliminate_zeros()
    return matrix


def _area(source: int, target: int) -> sparse.csr_array:
    index = np.arange(target)
    first = index * source // target
    last = -(-(index + 1) * source // target)
    counts = last - first
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - first, counts)
    return sparse.csr_array((np.repeat(1 / counts, counts), indices, indptr), shape=(target, source))


_AXES = {"bilinear": _bilinear, "area": _area}
