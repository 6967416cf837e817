"""csr_symmetrise: the affinity A = (B + B^T) / 2 of a directed neighbour graph B, and its degrees."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import check_csr, check_csr_content, check_values, contiguous, require, row_of_entry
from spectral_graph.ops.library import call, define, fake, fallback

OP = "csr_symmetrise"

define(
    "csr_symmetrise(Tensor indptr, Tensor indices, Tensor values, int n) "
    "-> (Tensor indptr, Tensor indices, Tensor values, Tensor degree)"
)


def csr_symmetrise(indptr: Tensor, indices: Tensor, values: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A = (B + B^T) / 2 and its row sums; A[i, j] and A[j, i] are the same, bit by bit.

    Duplicates of B are summed, in float64. An entry stays stored even where its value becomes zero.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, n), in any order.
        values: (nnz,) float32.
        n: number of rows and columns of B.

    Returns:
        indptr (n + 1,) int64, indices int32 sorted in each row, values float32, and degree (n,) float32: the row sums
        of A, accumulated in float64.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    matrix = contiguous(OP, indptr=indptr, indices=indices, values=values)
    result: tuple[Tensor, Tensor, Tensor, Tensor] = call(torch.ops.spectral_graph.csr_symmetrise.default, *matrix, n)
    return result


def _check(indptr: Tensor, indices: Tensor, values: Tensor, n: int) -> None:
    check_csr(OP, indptr, indices, n)
    check_values(OP, values, indices, torch.float32)
    length = indptr.shape[0]
    require(OP, length == n + 1, f"indptr must have n + 1 = {n + 1} elements, got {length}")


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, n)
    entries = torch.library.get_ctx().new_dynamic_size()
    return indptr.new_empty(n + 1), indices.new_empty(entries), values.new_empty(entries), values.new_empty(n)


@fallback(OP)
def _torch(indptr: Tensor, indices: Tensor, values: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(indptr, indices, values, n)
    check_csr_content(OP, indptr, indices, n)
    rows, columns, entries = row_of_entry(indptr), indices.long(), indices.numel()
    keys = torch.cat([rows * n + columns, columns * n + rows])
    places, slot = torch.unique(keys, return_inverse=True)
    both = torch.zeros(2, len(places), dtype=torch.float64)
    both[0].index_add_(0, slot[:entries], values.double())
    both[1].index_add_(0, slot[entries:], values.double())
    weights = (0.5 * (both[0] + both[1])).float()
    width = max(n, 1)
    row, column = places // width, places % width
    starts = indptr.new_zeros(n + 1)
    torch.cumsum(torch.bincount(row, minlength=n), 0, out=starts[1:])
    degree = torch.zeros(n, dtype=torch.float64).index_add_(0, row, weights.double()).float()
    return starts, column.int(), weights, degree
