"""The peers of csr_spmm: the package's own backends, with the graph converted once, and torch with 64-bit indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmarks.graphs import Graph
from benchmarks.table import skipped
from spectral_graph.ops import BACKENDS, CsrProduct, csr_spmm
from spectral_graph.ops.backends import Csr, Product, find_backend, torch_csr

PEERS = (*(name for name in BACKENDS if name != "native"), "torch-int64")
"""Their names; "torch" has 32-bit indices wherever they suffice."""


def native(graph: Graph) -> Product:
    """Return our product as it is called by default, with its tests of the indices."""
    return lambda x: csr_spmm(graph.indptr, graph.indices, graph.values, x)


def peer(name: str, graph: Graph) -> Product:
    """Return a peer's product x -> A x."""
    if name == "torch-int64":
        return torch_csr.prepare(Csr(graph.indptr, graph.indices, graph.values, graph.columns), torch.int64)
    return CsrProduct(graph.indptr, graph.indices, graph.values, graph.columns, backend=name)


def available(names: Sequence[str]) -> dict[str, Callable[[Graph], Product]]:
    """Return those of `names` that can be used here; say which are left out, and why. "native" is always there."""
    found = {}
    for name in names:
        if name == "native":
            continue
        reason = find_backend(name.removesuffix("-int64")).missing()
        if reason:
            skipped(name, reason)
        else:
            found[name] = lambda graph, name=name: peer(name, graph)
    return found
