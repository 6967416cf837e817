"""The backends of csr_spmm, one file each with the same interface, and their selection."""

from __future__ import annotations

from spectral_graph.ops.backends.registry import BACKENDS, Csr, Product, find_backend, usable_backend
from spectral_graph.ops.backends.selection import current_backend, use_backend

__all__ = ["BACKENDS", "Csr", "Product", "current_backend", "find_backend", "usable_backend", "use_backend"]
