"""rayleigh: the Rayleigh quotients of a normalised graph and their gradient, in one pass over the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    check_csr,
    check_csr_content,
    check_tensor,
    check_values,
    contiguous,
    require_equal,
    row_of_entry,
)
from spectral_graph.ops.library import FALLBACKS, autograd, call, define, fake, fallback

OP = "rayleigh"

define(
    "rayleigh(Tensor indptr, Tensor indices, Tensor values, Tensor inverse_degree, Tensor u) "
    "-> (Tensor s, Tensor gradient)"
)


def rayleigh(
    indptr: Tensor, indices: Tensor, values: Tensor, inverse_degree: Tensor, u: Tensor
) -> tuple[Tensor, Tensor]:
    """Return s_c = u_c^T D^-1 A u_c and its gradient (D^-1 A + A D^-1) u for a symmetric A (n, n).

    Row i of the gradient is computed as sum_j a_ij (d_i + d_j) u_j with d the diagonal of D^-1, and s_c as half of
    u_c . gradient_c. Both assume A = A^T, which is not checked: for another A the values are those of
    (D^-1 A + A D^-1) / 2. Duplicate and unsorted columns are allowed. The compiled results are the same, bit by bit,
    for every number of threads.

    Both results are differentiable in `u`, any number of times; not in the matrix.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, n).
        values: (nnz,) float32.
        inverse_degree: (n,) float32, the diagonal of D^-1; 0 for nodes without edges.
        u: (n, C) float32. It is copied if it is not contiguous.

    Returns:
        s (C,) float64, accumulated in float64 over the rows, and gradient (n, C) float32.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    arguments = contiguous(OP, indptr=indptr, indices=indices, values=values, inverse_degree=inverse_degree, u=u)
    result: tuple[Tensor, Tensor] = call(torch.ops.spectral_graph.rayleigh.default, *arguments)
    return result


def _check(indptr: Tensor, indices: Tensor, values: Tensor, inverse_degree: Tensor, u: Tensor) -> None:
    check_tensor(OP, "u", u, 2, torch.float32)
    n = u.shape[0]
    check_csr(OP, indptr, indices, n)
    require_equal(OP, n, indptr.shape[0] - 1, "u must have as many rows as the matrix")
    check_values(OP, values, indices, torch.float32)
    check_tensor(OP, "inverse_degree", inverse_degree, 1, torch.float32)
    require_equal(OP, inverse_degree.shape[0], n, "inverse_degree must have as many elements as u has rows")


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, inverse_degree: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    _check(indptr, indices, values, inverse_degree, u)
    return u.new_empty(u.shape[1], dtype=torch.float64), u.new_empty(u.shape)


@fallback(OP)
def _torch(indptr: Tensor, indices: Tensor, values: Tensor, inverse_degree: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    _check(indptr, indices, values, inverse_degree, u)
    check_csr_content(OP, indptr, indices, u.shape[0])
    balanced = values * (inverse_degree[row_of_entry(indptr)] + inverse_degree[indices.long()])
    gradient = FALLBACKS["csr_spmm"](indptr, indices, balanced, u, False)
    return 0.5 * torch.einsum("nc,nc->c", u.double(), gradient.double()), gradient


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:4], output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, by_s: Tensor | None, by_gradient: Tensor | None) -> tuple[Tensor | None, ...]:
    *matrix, gradient = ctx.saved_tensors
    by_u = None
    if ctx.needs_input_grad[4]:
        if by_s is not None:
            by_u = gradient * by_s.to(gradient.dtype)
        if by_gradient is not None:
            # The gradient is a symmetric linear map of u, so its derivative is the same map.
            turned = torch.ops.spectral_graph.rayleigh.default(*matrix, by_gradient.contiguous())[1]
            by_u = turned if by_u is None else by_u + turned
    return None, None, None, None, by_u


autograd(OP, _backward, _setup_context)
