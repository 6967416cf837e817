"""The optional kernels for NVIDIA GPUs.

They are in a separate module, `spectral_graph._CUDA`, which needs torch's CUDA libraries to load. It serves the
operators in `OPERATORS`, and csr_spmm_transposed, which calls two of them. torch computes dense matrix products (in
topc_affinity and unit_project), stable sorts and cumulative sums. The dot products of cosine_topc and cell_topc are
accumulated in another order than on the CPU, the same in every call. The kernels were compiled for sm_80 and sm_90 and
executed in emulation only, never on a GPU: `make cuda-check` lists the checks.
"""

from __future__ import annotations

import functools
import importlib

MODULE = "spectral_graph._CUDA"
OPERATORS = (
    "adam_rows_",
    "cell_topc",
    "chebyshev_step_",
    "cosine_topc",
    "csr_sddmm",
    "csr_spmm",
    "csr_symmetrise",
    "csr_transpose",
    "gram",
    "rayleigh",
    "rotate",
    "topc_affinity",
    "topc_merge",
    "unit_project",
)
"""The operators that have kernels here."""


@functools.cache
def load_cuda() -> str:
    """Import the kernels, once; return why they are missing, or an empty text if they are there."""
    try:
        importlib.import_module(MODULE)
    except ModuleNotFoundError:
        return (
            f"{MODULE} was not compiled; with nvcc: "
            "SPECTRAL_GRAPH_CUDA=1 CUDA_HOME=/usr/local/cuda pip install --no-build-isolation -e ."
        )
    except ImportError as error:
        return f"{MODULE} cannot be loaded ({error})"
    return ""
