"""CsrProduct: a sparse matrix, converted once for many products by one backend."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.backends import Csr, current_backend, usable_backend, use_backend
from spectral_graph.ops.checks import MOST_COLUMNS, check_csr_content, contiguous, require, require_tensor
from spectral_graph.ops.csr_spmm import csr_spmm
from spectral_graph.ops.csr_spmm_by import OP, check_arguments, check_devices


class CsrProduct:
    """A x for many x: the matrix is checked and converted once. It must not change afterwards.

    If a gradient is required, `csr_spmm` with the same backend computes the product and converts the matrix each time.

    Args:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32, in any order; duplicates add up.
        values: (nnz,) float32 or float64.
        columns: m.
        backend: a name that `use_backend` takes; by default the one in use.

    Raises:
        ConfigError: the backend cannot be used here.
        GraphError: shapes, dtypes or devices do not fit, or indptr or indices name something outside the matrix.
    """

    def __init__(
        self, indptr: Tensor, indices: Tensor, values: Tensor, columns: int, *, backend: str | None = None
    ) -> None:
        self.backend = current_backend() if backend is None else backend
        module = usable_backend(self.backend)
        starts, places, weights = contiguous(OP, indptr=indptr, indices=indices, values=values)
        self._matrix = starts, places, weights
        require(OP, isinstance(columns, int), f"columns must be a whole number, got {columns!r}")
        require(OP, columns >= 0, f"the number of columns must be in [0, {MOST_COLUMNS}], got {columns}")
        check_arguments(*self._matrix, values.new_empty(0).expand(columns, 0))
        self._devices = module.DEVICES
        check_devices(self.backend, self._devices, values, indptr, indices)
        check_csr_content(OP, indptr, indices, columns)
        self.shape = (indptr.shape[0] - 1, columns)
        indptr, indices, values = self._matrix
        self._product = module.prepare(Csr(indptr, indices, values.detach(), columns))

    def __call__(self, x: Tensor) -> Tensor:
        """Return A x (n, C), dtype of the values, for x (m, C) float32, float64 or bfloat16 as in `csr_spmm`.

        Raises:
            GraphError: x does not fit the matrix.
        """
        require_tensor(OP, "x", x)
        check_arguments(*self._matrix, x, columns=self.shape[1])
        check_devices(self.backend, self._devices, self._matrix[2], x)
        if torch.is_grad_enabled() and (x.requires_grad or self._matrix[2].requires_grad):
            with use_backend(self.backend):
                return csr_spmm(*self._matrix, x, check=False)
        return self._product(x.detach().to(self._matrix[2].dtype).contiguous())
