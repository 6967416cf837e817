"""The optional kernels for NVIDIA GPUs.

They stand in a module of their own, `spectral_graph._CUDA`, because on a machine without torch's CUDA libraries it
cannot be loaded. Of the operators it serves csr_spmm, gram, rotate and topc_affinity. It was compiled for sm_80 and
sm_90 and executed in emulation only, never on a GPU: `make cuda-check` shows what was examined.
"""

from __future__ import annotations

import functools
import importlib

MODULE = "spectral_graph._CUDA"


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
