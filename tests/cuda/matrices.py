"""Sparse matrices of all shapes, and products in float64."""

from __future__ import annotations

import numpy as np

SEGMENT = 128  # items of a segment of csr_spmm


def matrix(lengths, columns: int, seed: int = 0, dtype=np.float32):
    """A sparse matrix with rows of these lengths; columns may repeat."""
    generator = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = generator.integers(0, columns, indptr[-1]).astype(np.int32)
    return indptr, indices, generator.standard_normal(indptr[-1]).astype(dtype)


def rows_of(indptr):
    """The row of every entry."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def product(indptr, indices, values, x):
    """A x and |A| |x| in float64."""
    result = np.zeros((len(indptr) - 1, x.shape[1]))
    size = np.zeros_like(result)
    terms = values.astype(float)[:, None] * x.astype(float)[indices]
    np.add.at(result, rows_of(indptr), terms)
    np.add.at(size, rows_of(indptr), np.abs(terms))
    return result, size


def row_lengths(seed: int = 0) -> dict[str, list[int]]:
    """Row lengths by name: even, empty, hubs of many segments, ends at the very cut of a segment."""
    generator = np.random.default_rng(seed)
    return {
        "even": generator.integers(0, 40, 60).tolist(),
        "empty": [0] * (3 * SEGMENT + 5),
        "one": [1],
        "hubs": [3, 0, 45 * SEGMENT, 2, 0, 0, 2 * SEGMENT, 5, 33 * SEGMENT, 34 * SEGMENT + 7],
        "cuts": [SEGMENT - 1, SEGMENT - 1, SEGMENT, SEGMENT - 2, 0, 2 * SEGMENT - 1, 0],
        "joins": [32 * SEGMENT, 32 * SEGMENT - 2, 31 * SEGMENT, 33 * SEGMENT],
        "last": [0, 0, 40 * SEGMENT],
    }


def symmetrised(indptr, indices, values):
    """(B + B^T) / 2 place by place: indptr, indices, values and row sums."""
    n = len(indptr) - 1
    forward: dict[tuple[int, int], float] = {}
    for i, j, value in zip(rows_of(indptr).tolist(), indices.tolist(), values.tolist(), strict=True):
        forward[i, j] = forward.get((i, j), 0.0) + value
    places = sorted({*forward, *((j, i) for i, j in forward)})
    weights = [np.float32(0.5 * (forward.get((i, j), 0.0) + forward.get((j, i), 0.0))) for i, j in places]
    rows = np.array([i for i, _ in places], np.int64)
    starts = np.concatenate([[0], np.bincount(rows, minlength=n).cumsum()]).astype(np.int64)
    degree = np.bincount(rows, np.array(weights, float), n)
    return starts, np.array([j for _, j in places], np.int32), np.array(weights, np.float32), degree
