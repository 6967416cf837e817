"""The peers of csr_spmm: each takes a graph and returns a function x -> A x, or None where its package is missing."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.graphs import Graph
from benchmarks.table import skipped
from spectral_graph.ops import csr_spmm

Product = Callable[[torch.Tensor], torch.Tensor]


def native(graph: Graph) -> Product:
    return lambda x: csr_spmm(graph.indptr, graph.indices, graph.values, x)


def _torch(graph: Graph, dtype: torch.dtype) -> Product:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        parts = (graph.indptr.to(dtype), graph.indices.to(dtype), graph.values)
        matrix = torch.sparse_csr_tensor(*parts, (graph.rows, graph.columns), check_invariants=False)
    return lambda x: matrix @ x


def torch_int32(graph: Graph) -> Product:
    return _torch(graph, torch.int32)


def torch_int64(graph: Graph) -> Product:
    return _torch(graph, torch.int64)


def scipy(graph: Graph) -> Product:
    matrix = graph.scipy()
    return lambda x: torch.from_numpy(matrix @ x.numpy())


def numba(graph: Graph) -> Product:
    import numba as nb

    # fastmath lets the compiler fuse and reorder: the fastest form that a user of numba would write
    @nb.njit(parallel=True, fastmath=True)
    def product(indptr, indices, values, x, y):
        for i in nb.prange(len(indptr) - 1):
            for c in range(x.shape[1]):
                y[i, c] = 0
            for p in range(indptr[i], indptr[i + 1]):
                value, j = values[p], indices[p]
                for c in range(x.shape[1]):
                    y[i, c] += value * x[j, c]

    nb.set_num_threads(min(torch.get_num_threads(), nb.config.NUMBA_NUM_THREADS))
    parts = graph.indptr.numpy(), graph.indices.numpy(), graph.values.numpy()

    def run(x: torch.Tensor) -> torch.Tensor:
        y = np.empty((graph.rows, x.shape[1]), np.float32)
        product(*parts, x.numpy(), y)
        return torch.from_numpy(y)

    return run


def torch_sparse(graph: Graph) -> Product:
    from torch_sparse import SparseTensor

    size = (graph.rows, graph.columns)
    matrix = SparseTensor(
        rowptr=graph.indptr, col=graph.indices.long(), value=graph.values, sparse_sizes=size, is_sorted=True
    )
    return lambda x: matrix @ x


BACKENDS: dict[str, tuple[Callable[[Graph], Product], str]] = {
    "torch-int32": (torch_int32, "torch"),
    "torch-int64": (torch_int64, "torch"),
    "scipy": (scipy, "scipy"),
    "numba": (numba, "numba"),
    "torch_sparse": (torch_sparse, "torch_sparse"),
}
"""The peers by name, with the package that each needs."""


def available(names: Sequence[str]) -> dict[str, Callable[[Graph], Product]]:
    """Return those of `names` whose package is installed; say which are left out."""
    found = {}
    for name in names:
        make, package = BACKENDS[name]
        if importlib.util.find_spec(package) is None:
            skipped(name, package)
        else:
            found[name] = make
    return found
