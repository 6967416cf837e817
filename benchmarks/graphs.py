"""The graphs of the benchmarks: one layer of a run, or a synthetic one with what real graphs can have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from benchmarks.table import parse
from spectral_graph.graph.blocks import GraphStore

KINDS = ("uniform", "hubs", "power-law", "empty-rows", "one-row", "one-column")
SQUARE = KINDS[:4]


@dataclass(frozen=True)
class Graph:
    """A sparse matrix in compressed rows.

    Attributes:
        name: in the table.
        indptr: (n + 1,) int64.
        indices: (nnz,) int32.
        values: (nnz,) float32.
        columns: number of columns.
    """

    name: str
    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    columns: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def entries(self) -> int:
        """Number of stored values."""
        return len(self.indices)

    @property
    def shape(self) -> str:
        """Name and size, for the table."""
        return f"{self.name}: {self.rows} x {self.columns}, {self.entries} entries"

    @property
    def moved(self) -> int:
        """Bytes of the matrix itself."""
        return 8 * self.entries + 8 * (self.rows + 1)

    def scipy(self) -> scipy.sparse.csr_matrix:
        """Return it as SciPy's, sharing memory where the types allow."""
        parts = (self.values.numpy(), self.indices.numpy(), self.indptr.numpy().astype(np.int32))
        return scipy.sparse.csr_matrix(parts, (self.rows, self.columns))

    def symmetrised(self) -> Graph:
        """Return (A + A^T) / 2, by SciPy."""
        a = self.scipy()
        return of_scipy(self.name, (a + a.T) * 0.5)


def of_scipy(name: str, matrix: scipy.sparse.spmatrix) -> Graph:
    """Take over a SciPy matrix; duplicates are summed."""
    a = matrix.tocsr().astype(np.float32)
    a.sum_duplicates()
    parts = (a.indptr.astype(np.int64), a.indices.astype(np.int32), a.data)
    return Graph(name, *(torch.from_numpy(part) for part in parts), a.shape[1])


def stored(path: Path, layer: str) -> Graph:
    """Return the whole graph of one layer of a run, N x N: the mean over rounds of its blocks."""
    store = GraphStore.open(path)
    names = store.names(f"blocks/{layer}")
    if not names:
        layers = sorted(p.name for p in (path / "blocks").iterdir() if p.is_dir())
        raise SystemExit(f"{path} has no layer {layer}; it has {', '.join(layers)}")
    nodes = int(store.attributes["nodes"])
    total = scipy.sparse.csr_matrix((nodes, nodes), dtype=np.float32)
    for name in names:
        block = store.read(name)
        rows = np.repeat(block.rows, np.diff(block.indptr))
        total = total + scipy.sparse.csr_matrix((block.values, (rows, block.column_ids[block.indices])), (nodes, nodes))
    return of_scipy(layer, total / np.float32(store.attributes["rounds"]))


def synthetic(kind: str, nodes: int, per_row: int, seed: int = 0) -> Graph:
    """Return a matrix of `nodes` rows with about `per_row` entries each.

    Args:
        kind: uniform; hubs (half of all entries lie in eight columns and, mirrored, eight rows); power-law (lengths of
            the rows with exponent 2); empty-rows (nine of ten are empty); one-row; one-column.
        nodes: n.
        per_row: mean number of entries of a row.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    entries = nodes * per_row
    rows, columns = rng.integers(0, nodes, entries), rng.integers(0, nodes, entries)
    size = (nodes, nodes)
    if kind == "hubs":
        half = entries // 4
        columns[:half] %= 8
        rows[half : 2 * half] %= 8
    elif kind == "power-law":
        weight = 1 / rng.permutation(np.arange(1, nodes + 1))
        rows = rng.choice(nodes, entries, p=weight / weight.sum())
    elif kind == "empty-rows":
        rows -= rows % 10
    elif kind == "one-row":
        rows[:] = 0
        size = (1, nodes)
    elif kind == "one-column":
        columns[:] = 0
        size = (nodes, 1)
    return of_scipy(kind, scipy.sparse.coo_matrix((rng.random(entries, np.float32), (rows, columns)), size))


def add_arguments(parser: argparse.ArgumentParser, default: tuple[str, ...]) -> None:
    """Add the options that choose graphs."""
    parser.add_argument("--graph", type=Path, help="graph.zarr of a run, e.g. RUN/vv/graph.zarr")
    parser.add_argument("--layer", help="layer of --graph; its first one if not given")
    parser.add_argument("--synthetic", nargs="+", choices=KINDS, default=list(default), help="without --graph")
    parser.add_argument("--nodes", type=int, default=20_000, help="rows of the synthetic graphs")
    parser.add_argument("--per-row", type=int, default=30, help="their mean number of entries in a row")


def parse_square(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a benchmark that needs as many rows as columns."""
    options = parse(parser, arguments)
    if options.graph is None and not set(options.synthetic) <= set(SQUARE):
        parser.error(f"the graph must be square: {', '.join(SQUARE)}")
    return options


def chosen(options: argparse.Namespace) -> list[Graph]:
    """Return the graphs that the options name."""
    if options.graph is None:
        return [synthetic(kind, options.nodes, options.per_row) for kind in options.synthetic]
    layers = sorted(p.name for p in (options.graph / "blocks").glob("*") if p.is_dir())
    if not layers:
        raise SystemExit(f"{options.graph} holds no layers; it should be the graph.zarr of a run")
    return [stored(options.graph, options.layer or layers[0])]
