"""The backend "numba": a loop over the rows, compiled by numba when it is first used.

It uses the number of threads of torch, or that of numba if it is lower.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from spectral_graph.ops.backends.registry import Csr, Product, package_missing

DEVICES = "CPU"
_one_at_a_time = threading.Lock()
"""numba's thread pool aborts the process when two threads enter it concurrently."""


def missing() -> str:
    """Return why it cannot be used here and how to fix that, or an empty text."""
    return package_missing("numba", 'pip install "numba>=0.61"')


@functools.cache
def _kernel() -> Callable[..., None]:
    import numba

    # "contract" lets the compiler fuse products and sums; more of fastmath would let it ignore NaN.
    @numba.njit(parallel=True, fastmath={"contract"})
    def multiply(indptr, indices, values, x, y):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        for i in numba.prange(len(indptr) - 1):
            for c in range(x.shape[1]):
                y[i, c] = 0
            for p in range(indptr[i], indptr[i + 1]):
                value, j = values[p], indices[p]
                for c in range(x.shape[1]):
                    y[i, c] += value * x[j, c]

    compiled: Callable[..., None] = multiply
    return compiled


def prepare(matrix: Csr) -> Product:
    """Return the product by the loop; nothing is converted."""
    from numba import get_num_threads, set_num_threads

    multiply, rows = _kernel(), matrix.rows
    parts = matrix.indptr.numpy(), matrix.indices.numpy(), matrix.values.numpy()

    def product(x: Tensor) -> Tensor:
        y = x.new_empty(rows, x.shape[1])
        with _one_at_a_time:
            before = get_num_threads()
            set_num_threads(min(torch.get_num_threads(), before))
            try:
                multiply(*parts, x.numpy(), y.numpy())
            finally:
                set_num_threads(before)
        return y

    return product
