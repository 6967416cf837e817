"""chebyshev_step_: one step of a three-term recurrence with a sparse matrix, in place."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.backends import current_backend
from spectral_graph.ops.checks import (
    check_csr,
    check_csr_content,
    check_same_shape,
    check_tensor,
    check_values,
    contiguous,
    require_apart,
    require_tensor,
)
from spectral_graph.ops.csr_spmm import csr_spmm
from spectral_graph.ops.library import call, define, fake, fallback

OP = "chebyshev_step_"

define(
    "chebyshev_step_(Tensor indptr, Tensor indices, Tensor values, Tensor x, Tensor own, Tensor(a!) y, "
    "float gain, float shift, float keep, bool check=True) -> ()"
)


def chebyshev_step_(
    indptr: Tensor,
    indices: Tensor,
    values: Tensor,
    x: Tensor,
    own: Tensor,
    y: Tensor,
    gain: float,
    shift: float,
    keep: float,
    *,
    check: bool = True,
) -> None:
    """Set y to gain A x + shift own + keep y, for a sparse A (n, m), in one pass over y.

    The compiled result is the same, bit by bit, for every number of threads. If another backend
    of `csr_spmm` is in use, it computes A x, and the sum follows.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32.
        values: (nnz,) float32.
        x: (m, C) float32; not y.
        own: (n, C) float32: the rows of x that belong to the rows of A. It may be y.
        y: (n, C) float32, contiguous; changed. With keep 0 its content does not matter.
        gain: of A x.
        shift: of own.
        keep: of the previous y.
        check: test every index first; pass False only for a matrix that was checked before.

    Raises:
        GraphError: shapes or dtypes do not fit, or indptr or indices name something outside the matrix.
    """
    arguments = contiguous(OP, indptr=indptr, indices=indices, values=values, x=x, own=own)
    indptr, indices, values, x, own = arguments
    require_tensor(OP, "y", y)
    require_apart(OP, x=x, y=y)
    if current_backend() != "native":
        _check(indptr, indices, values, x, own, y)
        _combine(csr_spmm(indptr, indices, values, x, check=check), own, y, gain, shift, keep)
        return
    call(torch.ops.spectral_graph.chebyshev_step_.default, *arguments, y, gain, shift, keep, check)


def _combine(product: Tensor, own: Tensor, y: Tensor, gain: float, shift: float, keep: float) -> None:
    rest = own * shift if keep == 0 else (y * keep).add_(own, alpha=shift)
    y.copy_(rest.add_(product, alpha=gain))


def _check(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, own: Tensor, y: Tensor) -> None:
    check_tensor(OP, "x", x, 2, torch.float32)
    check_csr(OP, indptr, indices, x.shape[0])
    check_values(OP, values, indices, torch.float32)
    for name, tensor in (("own", own), ("y", y)):
        check_same_shape(OP, name, tensor, (indptr.shape[0] - 1, x.shape[1]), "A x")


@fake(OP)
def _fake(
    indptr: Tensor,
    indices: Tensor,
    values: Tensor,
    x: Tensor,
    own: Tensor,
    y: Tensor,
    gain: float,
    shift: float,
    keep: float,
    check: bool = True,
) -> None:
    _check(indptr, indices, values, x, own, y)


@fallback(OP)
def _torch(
    indptr: Tensor,
    indices: Tensor,
    values: Tensor,
    x: Tensor,
    own: Tensor,
    y: Tensor,
    gain: float,
    shift: float,
    keep: float,
    check: bool = True,
) -> None:
    _check(indptr, indices, values, x, own, y)
    if check:
        check_csr_content(OP, indptr, indices, x.shape[0])
    _combine(csr_spmm(indptr, indices, values, x, check=False), own, y, gain, shift, keep)
