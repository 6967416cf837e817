"""csr_sddmm: dot products of rows at the stored entries of a sparse matrix; the derivative of `csr_spmm` by values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    check_csr,
    check_csr_content,
    check_floating,
    check_tensor,
    contiguous,
    require_equal,
    row_of_entry,
)
from spectral_graph.ops.library import autograd, call, define, fake, fallback

OP = "csr_sddmm"
CHUNK = 1 << 22
"""Products that the pure-torch operator holds at a time."""

define("csr_sddmm(Tensor indptr, Tensor indices, Tensor a, Tensor b) -> Tensor")


def csr_sddmm(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return a_i . b_j for every stored entry (i, j) of a sparse matrix (n, m); differentiable in `a` and `b`.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, m).
        a: (n, C) float32 or float64.
        b: (m, C), dtype of `a`.

    Returns:
        (nnz,), dtype of `a`, in the order of `indices`.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    arguments = contiguous(OP, indptr=indptr, indices=indices, a=a, b=b)
    result: Tensor = call(torch.ops.spectral_graph.csr_sddmm.default, *arguments)
    return result


def _check(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor) -> None:
    dtype = check_floating(OP, "a", a)
    check_tensor(OP, "a", a, 2, dtype)
    check_tensor(OP, "b", b, 2, dtype)
    require_equal(OP, b.shape[1], a.shape[1], "b must have as many columns as a")
    check_csr(OP, indptr, indices, b.shape[0])
    require_equal(OP, a.shape[0], indptr.shape[0] - 1, "a must have as many rows as the matrix")


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor) -> Tensor:
    _check(indptr, indices, a, b)
    return a.new_empty(indices.shape[0])


@fallback(OP)
def _torch(indptr: Tensor, indices: Tensor, a: Tensor, b: Tensor) -> Tensor:
    _check(indptr, indices, a, b)
    check_csr_content(OP, indptr, indices, b.shape[0])
    rows, columns = row_of_entry(indptr), indices.long()
    values = a.new_empty(indices.shape[0])
    step = max(1, CHUNK // max(1, a.shape[1]))
    for start in range(0, len(values), step):
        part = slice(start, start + step)
        values[part] = (a[rows[part]] * b[columns[part]]).sum(dim=1)
    return values


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    indptr, indices, a, b = ctx.saved_tensors
    grad = grad.contiguous()
    ops = torch.ops.spectral_graph
    by_a = by_b = None
    if ctx.needs_input_grad[2]:
        by_a = ops.csr_spmm.default(indptr, indices, grad, b)
    if ctx.needs_input_grad[3]:
        by_b = ops.csr_spmm_transposed.default(indptr, indices, grad, a, b.shape[0])
    return None, None, by_a, by_b


autograd(OP, _backward, _setup_context)
