"""csr_transpose: the transpose of a CSR matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    check_csr,
    check_csr_content,
    check_floating,
    check_values,
    contiguous,
    row_of_entry,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "csr_transpose"

define(
    "csr_transpose(Tensor indptr, Tensor indices, Tensor values, int columns) "
    "-> (Tensor indptr, Tensor indices, Tensor values)"
)


def csr_transpose(indptr: Tensor, indices: Tensor, values: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return A^T of a sparse A (n, columns); its rows are sorted by column, duplicates keep their order.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, columns), in any order.
        values: (nnz,) float32 or float64.
        columns: number of columns of A.

    Returns:
        indptr (columns + 1,) int64, indices (nnz,) int32, values (nnz,) of the transpose.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    matrix = contiguous(OP, indptr=indptr, indices=indices, values=values)
    result: tuple[Tensor, Tensor, Tensor] = call(torch.ops.spectral_graph.csr_transpose.default, *matrix, columns)
    return result


def _check(indptr: Tensor, indices: Tensor, values: Tensor, columns: int) -> None:
    dtype = check_floating(OP, "values", values)
    check_csr(OP, indptr, indices, columns)
    check_values(OP, values, indices, dtype)


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, columns)
    return indptr.new_empty(columns + 1), torch.empty_like(indices), torch.empty_like(values)


@fallback(OP)
def _torch(indptr: Tensor, indices: Tensor, values: Tensor, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, columns)
    check_csr_content(OP, indptr, indices, columns)
    order = torch.argsort(indices, stable=True)
    starts = indptr.new_zeros(columns + 1)
    torch.cumsum(torch.bincount(indices, minlength=columns), 0, out=starts[1:])
    return starts, row_of_entry(indptr)[order].int(), values[order]
