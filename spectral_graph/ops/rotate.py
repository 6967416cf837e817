"""rotate: the product of a tall float32 matrix and a small float64 one, accumulated in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.checks import check_tensor, contiguous, require_equal
from spectral_graph.ops.library import autograd, call, define, fake, fallback

OP = "rotate"
CHUNK = 4096
"""Rows that the pure-torch operator converts at a time."""

define("rotate(Tensor x, Tensor u) -> Tensor")


def rotate(x: Tensor, u: Tensor) -> Tensor:
    """Return X U, accumulated in float64 and rounded once to float32; differentiable in both.

    The compiled result is the same, bit by bit, for every number of threads.

    Args:
        x: (n, C) float32. It is copied if it is not contiguous.
        u: (C, K) float64.

    Returns:
        (n, K) float32.

    Raises:
        GraphError: shapes or dtypes do not fit.
    """
    result: Tensor = call(torch.ops.spectral_graph.rotate.default, *contiguous(OP, x=x, u=u))
    return result


def _check(x: Tensor, u: Tensor) -> None:
    check_tensor(OP, "x", x, 2, torch.float32)
    check_tensor(OP, "u", u, 2, torch.float64)
    require_equal(OP, u.shape[0], x.shape[1], "u must have as many rows as x has columns")


@fake(OP)
def _fake(x: Tensor, u: Tensor) -> Tensor:
    _check(x, u)
    return x.new_empty(x.shape[0], u.shape[1])


@fallback(OP)
def _torch(x: Tensor, u: Tensor) -> Tensor:
    _check(x, u)
    result = x.new_empty(x.shape[0], u.shape[1])
    for rows, out in zip(x.split(CHUNK), result.split(CHUNK), strict=True):
        out.copy_(rows.double() @ u)
    return result


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, u = ctx.saved_tensors
    grad = grad.contiguous()
    ops = torch.ops.spectral_graph
    by_x = ops.rotate.default(grad, u.T.contiguous()) if ctx.needs_input_grad[0] else None
    by_u = ops.gram.default(x, grad) if ctx.needs_input_grad[1] else None
    return by_x, by_u


autograd(OP, _backward, _setup_context)
