"""The operators `torch.ops.spectral_graph.*` and their typed public functions.

The schemas, shape inference and derivatives are declared in Python, the CPU kernels are compiled. Uncompiled, or with
the environment variable SPECTRAL_GRAPH_OPS=torch, pure-torch implementations serve the same schemas.
"""

from __future__ import annotations

from spectral_graph.ops.adam_rows import adam_rows_
from spectral_graph.ops.backends import BACKENDS, current_backend, use_backend
from spectral_graph.ops.cell_topc import cell_topc
from spectral_graph.ops.chebyshev_step import chebyshev_step_
from spectral_graph.ops.cosine_topc import cosine_topc
from spectral_graph.ops.csr_product import CsrProduct
from spectral_graph.ops.csr_sddmm import csr_sddmm
from spectral_graph.ops.csr_spmm import csr_spmm
from spectral_graph.ops.csr_spmm_transposed import csr_spmm_transposed
from spectral_graph.ops.csr_symmetrise import csr_symmetrise
from spectral_graph.ops.csr_transpose import csr_transpose
from spectral_graph.ops.gram import gram
from spectral_graph.ops.library import UncompiledWarning, compiled, load
from spectral_graph.ops.rayleigh import rayleigh
from spectral_graph.ops.rotate import rotate
from spectral_graph.ops.topc_affinity import topc_affinity
from spectral_graph.ops.topc_merge import topc_merge
from spectral_graph.ops.unit_project import unit_project

load()

__all__ = [
    "BACKENDS",
    "CsrProduct",
    "UncompiledWarning",
    "adam_rows_",
    "cell_topc",
    "chebyshev_step_",
    "compiled",
    "cosine_topc",
    "csr_sddmm",
    "csr_spmm",
    "csr_spmm_transposed",
    "csr_symmetrise",
    "csr_transpose",
    "current_backend",
    "gram",
    "rayleigh",
    "rotate",
    "topc_affinity",
    "topc_merge",
    "unit_project",
    "use_backend",
]
