"""The operators `torch.ops.spectral_graph.*` and their typed public functions.

The schemas, shape inference and derivatives are declared in Python, the CPU kernels are compiled. Uncompiled, or with
the environment variable SPECTRAL_GRAPH_OPS=torch, pure-torch implementations serve the same schemas.
"""

from __future__ import annotations

from spectral_graph.ops.adam_rows import adam_rows_
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

load()

__all__ = [
    "UncompiledWarning",
    "adam_rows_",
    "compiled",
    "csr_sddmm",
    "csr_spmm",
    "csr_spmm_transposed",
    "csr_symmetrise",
    "csr_transpose",
    "gram",
    "rayleigh",
    "rotate",
    "topc_affinity",
    "topc_merge",
]
