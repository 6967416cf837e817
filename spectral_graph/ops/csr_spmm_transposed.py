"""csr_spmm_transposed: A^T x for a sparse A in CSR; the derivative of `csr_spmm` by its dense factor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.backends import current_backend
from spectral_graph.ops.checks import check_csr, check_floating, check_tensor, check_values, contiguous, require_equal
from spectral_graph.ops.library import LIBRARY, autograd, call, define, fake

OP = "csr_spmm_transposed"

define(
    "csr_spmm_transposed(Tensor indptr, Tensor indices, Tensor values, Tensor x, int columns, "
    'str backend="native") -> Tensor'
)


def csr_spmm_transposed(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, columns: int) -> Tensor:
    """Return A^T x for a sparse A (n, columns); differentiable in `values` and `x`, any number of times.

    The matrix is transposed at every call. For repeated products transpose it once with `csr_transpose`.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, columns).
        values: (nnz,) float32 or float64.
        x: (n, C), dtype of `values`.
        columns: number of columns of A.

    Returns:
        (columns, C), dtype of `x`.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    operator = torch.ops.spectral_graph.csr_spmm_transposed.default
    arguments = contiguous(OP, indptr=indptr, indices=indices, values=values, x=x)
    result: Tensor = call(operator, *arguments, columns, current_backend())
    return result


def _check(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, columns: int) -> None:
    dtype = check_floating(OP, "x", x)
    check_tensor(OP, "x", x, 2, dtype)
    check_csr(OP, indptr, indices, columns)
    check_values(OP, values, indices, dtype)
    require_equal(OP, x.shape[0], indptr.shape[0] - 1, "x must have as many rows as the matrix")


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, columns: int, backend: str = "native") -> Tensor:
    _check(indptr, indices, values, x, columns)
    return x.new_empty(columns, x.shape[1])


def _composed(
    indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, columns: int, backend: str = "native"
) -> Tensor:
    _check(indptr, indices, values, x, columns)
    ops = torch.ops.spectral_graph
    transpose = ops.csr_transpose.default(indptr, indices, values, columns)
    result: Tensor
    if backend == "native":
        result = ops.csr_spmm.default(*transpose, x, False)
    else:
        result = ops.csr_spmm_by.default(*transpose, x, False, backend)
    return result


LIBRARY.impl(OP, _composed, "CompositeExplicitAutograd")


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.backend = inputs[5]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    indptr, indices, values, x = ctx.saved_tensors
    grad = grad.contiguous()
    ops = torch.ops.spectral_graph
    by_values = by_x = None
    if ctx.needs_input_grad[2]:
        by_values = ops.csr_sddmm.default(indptr, indices, x, grad)
    if ctx.needs_input_grad[3]:
        if ctx.backend == "native":
            by_x = ops.csr_spmm.default(indptr, indices, values, grad)
        else:
            by_x = ops.csr_spmm_by.default(indptr, indices, values, grad, True, ctx.backend)
    return None, None, by_values, by_x, None, None


autograd(OP, _backward, _setup_context)
