"""The backend "scipy": scipy.sparse.csr_array, one thread."""

from __future__ import annotations

import numpy as np
import torch

from spectral_graph.ops.backends.registry import Csr, Product

DEVICES = "CPU"


def missing() -> str:
    """Return an empty text: SciPy comes with the package."""
    return ""


def prepare(matrix: Csr) -> Product:
    """Return the product by a csr_array over the memory of the values and, where it fits, of the indices."""
    from scipy.sparse import csr_array

    indptr, indices, values = matrix.indptr.numpy(), matrix.indices.numpy(), matrix.values.numpy()
    if len(indices) < 2**31:  # SciPy wants one type for both
        indptr = indptr.astype(np.int32)
    sparse = csr_array((values, indices, indptr), shape=(matrix.rows, matrix.columns))
    return lambda x: torch.from_numpy(sparse @ x.numpy())
