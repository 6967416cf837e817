"""Rows of a sparse matrix as the graph code passes them around, with every conversion to SciPy and torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class CsrRows:
    """A range of rows in CSR, for example the neighbour lists of the nodes of a block.

    Attributes:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 columns, ascending in each row.
        values: (nnz,) float32.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray

    @classmethod
    def empty(cls, rows: int) -> CsrRows:
        """Return rows without entries."""
        return cls(np.zeros(rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def from_scipy(cls, matrix: csr_matrix) -> CsrRows:
        """Return the rows of a SciPy matrix with sorted indices, without a copy where the dtypes agree."""
        indptr, indices = matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)
        return cls(indptr, indices, matrix.data)

    def to_scipy(self, columns: int) -> csr_matrix:
        """Return the SciPy matrix (n, columns), without a copy of values and indices."""
        matrix = csr_matrix((self.values, self.indices, self.indptr), shape=(len(self.indptr) - 1, columns))
        matrix.has_canonical_format = True
        return matrix

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return indptr, indices and values as tensors over the same memory, as the operators take them."""
        import torch  # commands that only read blocks start a second earlier without it

        return torch.from_numpy(self.indptr), torch.from_numpy(self.indices), torch.from_numpy(self.values)

    @classmethod
    def from_tensors(cls, indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor) -> CsrRows:
        """Return the rows that an operator returned, over the same memory."""
        return cls(indptr.numpy(), indices.numpy(), values.numpy())

    @property
    def counts(self) -> np.ndarray:
        """(n,) int64 number of entries of each row."""
        return np.diff(self.indptr)

    @property
    def row_of_entry(self) -> np.ndarray:
        """(nnz,) int64 row of each entry, from 0."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.counts)

    @property
    def row_sums(self) -> np.ndarray:
        """(n,) float32 sums of the rows, accumulated in float64 in an order that depends on the row only."""
        sums = np.zeros(len(self.counts))
        filled = np.flatnonzero(self.counts)
        if len(filled):
            sums[filled] = np.add.reduceat(self.values, self.indptr[filled], dtype=np.float64)
        return sums.astype(np.float32)

    def with_values(self, values: np.ndarray) -> CsrRows:
        """Return the same entries with other values (nnz,), as float32."""
        return CsrRows(self.indptr, self.indices, values.astype(np.float32, copy=False))

    def part(self, start: int, stop: int) -> CsrRows:
        """Return the rows start to stop, as views where possible."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        return CsrRows(self.indptr[start : stop + 1] - first, self.indices[first:last], self.values[first:last])

    def where(self, keep: np.ndarray) -> CsrRows:
        """Return the entries for which `keep` (nnz,) is true."""
        starts = np.zeros(len(keep) + 1, np.int64)
        np.cumsum(keep, out=starts[1:])
        return CsrRows(starts[self.indptr], self.indices[keep], self.values[keep])

    def transpose(self, columns: int) -> CsrRows:
        """Return the transpose; `columns` is the number of columns, and of rows of the result."""
        from spectral_graph.ops import csr_transpose

        return CsrRows.from_tensors(*csr_transpose(*self.tensors(), columns))

    def scaled(self, first: int, d: np.ndarray) -> CsrRows:
        """Return rows of D A D for rows of A; the values at (i, j) and (j, i) keep equal bits.

        Args:
            first: global number of the first row.
            d: (nodes,) float64, the diagonal of D.
        """
        return self.with_values(self.values * (d[first + self.row_of_entry] * d[self.indices]))


def symmetrise_rows(forward: CsrRows, backward: CsrRows, nodes: int) -> CsrRows:
    """Return rows of A = (B + B^T) / 2; the values are those of `spectral_graph.ops.csr_symmetrise`, bit by bit.

    A float32 sum is the float64 sum rounded (float64 has more than twice the digits), and halving is exact.

    Args:
        forward: rows of B, each column at most once.
        backward: the same rows of B^T.
        nodes: number of columns.
    """
    total = CsrRows.from_scipy(forward.to_scipy(nodes) + backward.to_scipy(nodes))
    return total.with_values(total.values * np.float32(0.5))
