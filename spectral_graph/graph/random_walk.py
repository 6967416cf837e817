"""The quadratic form of Eqn. 3, X^T D^-1 A X, summed over the graphs of all layers as they lie on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.layer_grids import layer_map, run_nodes, to_run_nodes
from spectral_graph.graph.merge import inverse_degree
from spectral_graph.graph.operand import require_columns
from spectral_graph.graph.operator import BlockOperator, block_product
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.ops import gram

AHEAD = 2
"""Blocks that are read while one is multiplied."""


def random_walk_form(store: GraphStore, layers: Sequence[str], operator: BlockOperator, x: np.ndarray) -> np.ndarray:
    """Return X^T W X (C, C) float64, where W is the mean of D^-1 A over layers and mini-batches (Eqn. 3).

    Of a layer on a coarser grid W is g^T D^-1 A g. Each block is read once; neither W nor W X is stored. Of several
    processes each adds the rows that it holds, and all return the sum.

    Args:
        store: of the graph.
        layers: their names.
        operator: the merged operator, of any normalisation: it knows which rows of X this process holds, and gets the
            rows of the others that the graphs refer to.
        x: (N, C) float32, may be memory-mapped; of its rows those that this process holds.

    Raises:
        GraphError: x does not hold the rows of this process.
    """
    require_columns("the solution X", x, len(operator.rows))
    reached = operator.gathered(x)
    total = np.zeros((x.shape[1], x.shape[1]))
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    maps = {layer: layer_map(store.attributes, layer) for layer in layers}
    product = np.empty(0, np.float32)
    for layer, block in _blocks(store, layers, ids, maps):
        ready = operator.ready(block)
        part = block_product(ready, reached)
        # The blocks of all layers with one id have the same rows: one product with X^T serves all of them.
        product = part.copy() if layer == layers[0] else product + part
        if layer == layers[-1]:
            total += gram(as_readonly_tensor(x[ready.rows]), as_readonly_tensor(product)).numpy()
    rounds = len(layers) * int(store.attributes["rounds"])
    return np.asarray(operator.comm.sum(total) / rounds)


def _blocks(
    store: GraphStore, layers: Sequence[str], ids: Sequence[str], maps: dict[str, csr_array | None]
) -> Iterator[tuple[str, Block]]:
    """Yield (layer, block of D^-1 A on the run's nodes), all layers of a block after each other."""
    names = [(layer, f"blocks/{layer}/{index}") for index in ids for layer in layers]
    pending: list[tuple[str, Future[Block]]] = []
    with ThreadPoolExecutor(AHEAD) as readers:
        for layer, name in names:
            pending.append((layer, readers.submit(lambda name, g: _walk(store.read(name), g), name, maps[layer])))
            if len(pending) > AHEAD:
                first, block = pending.pop(0)
                yield first, block.result()
        for layer, block in pending:
            yield layer, block.result()


def _walk(block: Block, g: csr_array | None) -> Block:
    """Return D^-1 A of a block of A, with the run's nodes as rows and columns."""
    assert block.degree is not None
    values = np.repeat(inverse_degree(block.degree), np.diff(block.indptr)) * block.values
    if g is None:
        return replace(block, values=values.astype(np.float32), degree=None, in_degree=None)
    columns = np.arange(len(block.rows)) if block.columns is None else block.column_ids
    walk = to_run_nodes(csr_matrix((values, block.indices, block.indptr), shape=block.shape), columns, g)
    used, places = (None, walk.indices) if block.columns is None else local_columns(walk.indices, walk.shape[1])
    return Block(
        rows=run_nodes(block.rows, g),
        indptr=walk.indptr.astype(np.int64),
        indices=places.astype(np.int32, copy=False),
        values=walk.data.astype(np.float32),
        degree=None,
        facts={},
        columns=used,
    )
