"""A sparse symmetric matrix of SciPy as the operator that the solver takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.operator import BlockOperator

BLOCK_ROWS = 1 << 14


class CsrOperator(BlockOperator):
    """A matrix in memory; its blocks are ranges of rows.

    Args:
        matrix: (N, N) float32, symmetric.
    """

    def __init__(self, matrix: csr_array) -> None:
        self._matrix = matrix
        starts = range(0, matrix.shape[0], BLOCK_ROWS)
        nowhere = GraphStore(Path(), {})
        super().__init__(nowhere, [str(start) for start in starts], matrix.shape[0], 1, kept_bytes=0)

    def _stored(self, name: str) -> Block:
        start = int(name)
        stop = min(start + BLOCK_ROWS, self.shape[0])
        indptr, indices, values = self._matrix.indptr, self._matrix.indices, self._matrix.data
        begin, end = int(indptr[start]), int(indptr[stop])
        columns, places = local_columns(indices[begin:end], self.shape[0])
        return Block(
            rows=np.arange(start, stop),
            indptr=indptr[start : stop + 1].astype(np.int64) - begin,
            indices=places,
            values=values[begin:end],
            degree=None,
            facts={},
            columns=columns,
        )
