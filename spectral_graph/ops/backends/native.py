"""The backend "native": the compiled operator, or its pure-torch form if it was not compiled."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.backends.registry import Csr, Product

DEVICES = "CPU, and CUDA with the compiled kernels"


def missing() -> str:
    """Return an empty text: it is always available."""
    return ""


def prepare(matrix: Csr) -> Product:
    """Return the product by the operator, without its checks of the indices."""
    indptr, indices, values, _ = matrix
    operator = torch.ops.spectral_graph.csr_spmm.default

    def product(x: Tensor) -> Tensor:
        result: Tensor = operator(indptr, indices, values, x, False)
        return result

    return product
