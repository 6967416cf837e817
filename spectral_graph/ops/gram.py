"""gram: X^T X, or X^T Y, of tall float32 matrices in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.checks import check_tensor, contiguous, require_equal
from spectral_graph.ops.library import autograd, call, define, fake, fallback

OP = "gram"
CHUNK = 4096
"""Rows that the pure-torch operator converts at a time."""

define("gram(Tensor x, Tensor? y=None) -> Tensor")


def gram(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Return X^T X, exactly symmetric, or X^T Y; differentiable in both.

    The compiled result is the same, bit by bit, for every number of threads.

    Args:
        x: (n, C) float32. It is copied if it is not contiguous.
        y: (n, K) float32.

    Returns:
        (C, C), or (C, K), float64.

    Raises:
        GraphError: shapes or dtypes do not fit.
    """
    both = contiguous(OP, x=x) if y is None else contiguous(OP, x=x, y=y)
    result: Tensor = call(torch.ops.spectral_graph.gram.default, *both)
    return result


def _check(x: Tensor, y: Tensor | None) -> None:
    check_tensor(OP, "x", x, 2, torch.float32)
    if y is not None:
        check_tensor(OP, "y", y, 2, torch.float32)
        require_equal(OP, y.shape[0], x.shape[0], "y must have as many rows as x")


@fake(OP)
def _fake(x: Tensor, y: Tensor | None = None) -> Tensor:
    _check(x, y)
    return x.new_empty(x.shape[1], x.shape[1] if y is None else y.shape[1], dtype=torch.float64)


@fallback(OP)
def _torch(x: Tensor, y: Tensor | None = None) -> Tensor:
    _check(x, y)
    other = x if y is None else y
    total = x.new_zeros(x.shape[1], other.shape[1], dtype=torch.float64)
    for left, right in zip(x.split(CHUNK), other.split(CHUNK), strict=True):
        total += left.double().T @ right.double()
    return total if y is not None else total.triu() + total.triu(1).T


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y = ctx.saved_tensors
    rotate = torch.ops.spectral_graph.rotate.default
    if y is None:
        return rotate(x, (grad + grad.T).contiguous()), None
    by_x = rotate(y, grad.T.contiguous()) if ctx.needs_input_grad[0] else None
    by_y = rotate(x, grad.contiguous()) if ctx.needs_input_grad[1] else None
    return by_x, by_y


autograd(OP, _backward, _setup_context)
