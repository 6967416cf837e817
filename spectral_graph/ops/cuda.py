"""The optional kernels for NVIDIA GPUs.

They stand in a module of their own, `spectral_graph._CUDA`, because on a machine without torch's CUDA libraries it
cannot be loaded. It serves the operators in `OPERATORS`, and so csr_spmm_transposed, which is made of two of them.
Products of dense matrices (in topc_affinity and unit_project), stable sorts and cumulative sums are torch's. A product
in cosine_topc and cell_topc is added up in another order than on the CPU, the same in every call. The kernels were
compiled for sm_80 and sm_90 and executed in emulation only, never on a GPU: `make cuda-check` shows what was examined.
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
