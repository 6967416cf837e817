"""csr_spmm: the product of a CSR matrix and a dense matrix of few columns."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.backends import Csr, current_backend, torch_csr
from spectral_graph.ops.checks import check_csr_content, contiguous
from spectral_graph.ops.csr_spmm_by import backward, check_arguments, setup_context
from spectral_graph.ops.library import autograd, call, define, fake, fallback

OP = "csr_spmm"

define("csr_spmm(Tensor indptr, Tensor indices, Tensor values, Tensor x, bool check=True) -> Tensor")


def csr_spmm(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, *, check: bool = True) -> Tensor:
    """Return A x for a sparse A (n, m); differentiable in `values` and `x`, any number of times.

    Duplicate and unsorted columns are allowed; duplicates add up. The compiled result is the same, bit by bit, for
    every number of threads. `use_backend` selects another library for the product; `CsrProduct` converts the matrix for
    such a library once, for many products.

    A bfloat16 `x` halves what is read from memory; the sums are float32. For a row of k entries the result lies within
    k 2^-24 / (1 - k 2^-24) sum_j |a_ij| |x_j| of the exact product with the stored x. Where x was rounded from other
    numbers z, that adds 2^-8 sum_j |a_ij| |z_j| (bfloat16 has 8 significant bits).

    Args:
        indptr: (n + 1,) int64; row i has the entries indptr[i] to indptr[i + 1].
        indices: (nnz,) int32, the column of each entry.
        values: (nnz,) float32, or float64 where x is float64.
        x: (m, C) float32, float64 or bfloat16. It is copied if its rows are not contiguous.
        check: test every index right before it is used. With 30 entries a row and one thread the tests took 10 percent
            of the time at C = 16 and 2 percent at C = 64. Pass False only for a matrix that was checked before: an
            index outside [0, m) then reads memory outside x.

    Returns:
        (n, C), dtype of `values`.

    Raises:
        GraphError: shapes or dtypes do not fit, or (with `check`) indptr or indices name something outside the matrix.
    """
    arguments = (*contiguous(OP, indptr=indptr, indices=indices, values=values, x=x), check)
    backend, ops = current_backend(), torch.ops.spectral_graph
    result: Tensor
    if backend == "native":
        result = call(ops.csr_spmm.default, *arguments)
    else:
        result = call(ops.csr_spmm_by.default, *arguments, backend)
    return result


@fake(OP)
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, check: bool = True) -> Tensor:
    check_arguments(indptr, indices, values, x)
    return values.new_empty(indptr.shape[0] - 1, x.shape[1])


@fallback(OP)
def _torch(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, check: bool = True) -> Tensor:
    check_arguments(indptr, indices, values, x)
    if check:
        check_csr_content(OP, indptr, indices, x.shape[0])
    matrix = Csr(indptr, indices, values.detach(), x.shape[0])
    return torch_csr.prepare(matrix)(x.detach().to(values.dtype))


autograd(OP, backward, setup_context)
