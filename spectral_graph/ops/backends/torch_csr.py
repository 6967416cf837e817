"""The backend "torch": torch's sparse CSR tensors, with 32-bit indices where the matrix allows."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from spectral_graph.ops.backends.registry import Csr, Product

DEVICES = "CPU and CUDA"


def missing() -> str:
    """Return an empty text: it is always available."""
    return ""


def prepare(matrix: Csr, index_type: torch.dtype | None = None) -> Product:
    """Return the product by a CSR tensor; `index_type`: int32 or int64, by default int32 where the matrix allows."""
    if index_type is None:
        small = max(matrix.indices.shape[0], matrix.rows, matrix.columns) < 2**31
        index_type = torch.int32 if small else torch.int64
    size = (matrix.rows, matrix.columns)
    if matrix.indices.shape[0] == 0:
        return lambda x: x.new_zeros(size[0], x.shape[1])
    with warnings.catch_warnings():
        # torch warns once that its CSR tensors are in beta; a user of this package cannot act on that.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        parts = matrix.indptr.to(index_type), matrix.indices.to(index_type), matrix.values
        sparse = torch.sparse_csr_tensor(*parts, size, check_invariants=False)

    def product(x: Tensor) -> Tensor:
        if x.shape[1] == 0:
            return x.new_zeros(size[0], 0)
        result: Tensor = sparse @ x
        return result

    return product
