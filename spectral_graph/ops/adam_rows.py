"""adam_rows_: one Adam step on the rows of a block, in place, with a step count for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import (
    check_same_shape,
    check_tensor,
    contiguous,
    dtype_name,
    fail,
    require,
    require_apart,
    require_equal,
    require_tensor,
)
from spectral_graph.ops.library import call, define, fake, fallback

OP = "adam_rows_"

define(
    "adam_rows_(Tensor(a!) x, Tensor(b!) m, Tensor(c!) v, Tensor gradient, Tensor step, float learning_rate, "
    "float beta1, float beta2, float epsilon) -> ()"
)


def adam_rows_(
    x: Tensor,
    m: Tensor,
    v: Tensor,
    gradient: Tensor,
    step: Tensor,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Update x, m and v in place by one step of Adam with bias correction.

    Source: D. P. Kingma and J. Ba, "Adam", https://arxiv.org/abs/1412.6980, algorithm 1. Rows that are visited at
    different times differ in `step`, so the bias correction is computed for each row; its powers are in float64. The
    compiled result is the same, bit by bit, for every number of threads. Not differentiable.

    Args:
        x: (n, C) float32, contiguous; x, m and v must not share memory.
        m: (n, C) float32, contiguous; the first moment.
        v: (n, C) float32, contiguous; the second moment.
        gradient: (n, C) float32. It is copied if it is not contiguous.
        step: (n,) int64 or float32; the number of this step for each row, from 1.
        learning_rate: of Adam.
        beta1: decay rate of m, in [0, 1).
        beta2: decay rate of v, in [0, 1).
        epsilon: added to the root of v.

    Raises:
        GraphError: shapes or dtypes do not fit, or a step count is below 1; nothing was changed then.
    """
    operator = torch.ops.spectral_graph.adam_rows_.default
    for name, tensor in (("x", x), ("m", m), ("v", v)):
        require_tensor(OP, name, tensor)
    require_apart(OP, x=x, m=m, v=v)
    arguments = contiguous(OP, gradient=gradient, step=step)
    call(operator, x, m, v, *arguments, learning_rate, beta1, beta2, epsilon)


def _check(x: Tensor, m: Tensor, v: Tensor, gradient: Tensor, step: Tensor, beta1: float, beta2: float) -> None:
    check_tensor(OP, "x", x, 2, torch.float32)
    for name, tensor in (("m", m), ("v", v), ("gradient", gradient)):
        check_same_shape(OP, name, tensor, x.shape, "x")
    dtype = step.dtype
    require(OP, dtype in (torch.int64, torch.float32), f"step must be int64 or float32, got {dtype_name(dtype)}")
    check_tensor(OP, "step", step, 1, dtype)
    require_equal(OP, step.shape[0], x.shape[0], "step must have as many elements as x has rows")
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        require(OP, 0 <= beta < 1, f"{name} must lie in [0, 1), got {beta:g}")


@fake(OP)
def _fake(
    x: Tensor,
    m: Tensor,
    v: Tensor,
    gradient: Tensor,
    step: Tensor,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    _check(x, m, v, gradient, step, beta1, beta2)


@fallback(OP)
def _torch(
    x: Tensor,
    m: Tensor,
    v: Tensor,
    gradient: Tensor,
    step: Tensor,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    _check(x, m, v, gradient, step, beta1, beta2)
    early = ~(step >= 1)
    if bool(early.any()):
        i = int(early.nonzero()[0])
        fail(OP, f"step must be at least 1, got step[{i}] = {step[i].item():g}")
    count = step.double()[:, None]
    size = (learning_rate / (1 - beta1**count)).float()
    root = (1 - beta2**count).sqrt().float()
    m.mul_(beta1).add_(gradient, alpha=1 - beta1)
    v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    x.sub_(size * m / (v.sqrt() / root + epsilon))
