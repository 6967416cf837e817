"""The graphs of all layers merged into one sparse symmetric operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from spectral_graph.errors import ConfigError
from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.layer_grids import layer_map, run_nodes, to_run_nodes

Normalisation = Literal["symmetric", "random_walk"]

AT_ONCE = 2
"""Blocks merged at a time: SciPy adds with one thread, and each block takes memory."""


def require_normalisation(name: str) -> None:
    """Raise ConfigError unless `name` is that of a normalisation."""
    allowed = get_args(Normalisation)
    if name not in allowed:
        raise ConfigError(f"`normalisation={name!r}`: there is no such normalisation; give one of {', '.join(allowed)}")


def inverse_degree(degree: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Return degree^-power as float64; 0 for nodes without edges."""
    out = np.zeros(len(degree))
    positive = degree > 0
    out[positive] = degree[positive].astype(np.float64) ** -power
    return out


def normalise(block: Block, normalisation: Normalisation, column_degree: np.ndarray | None = None) -> np.ndarray:
    """Return the stored values (nnz,) float64 of the normalised graph; a value and its mirror image have equal bits.

    symmetric: D^-1/2 A D^-1/2 (normalised cut, spectrum within [-1, 1]).
    random_walk: (D^-1 A + A D^-1) / 2, the symmetric part of the random walk matrix of Eqn. 3: it has the same
    quadratic form u^T D^-1 A u.

    Args:
        block: rows of A.
        normalisation: one of these.
        column_degree: degrees of the block's columns; None where they are its rows.
    """
    require_normalisation(normalisation)
    assert block.degree is not None
    symmetric = normalisation == "symmetric"
    power = 0.5 if symmetric else 1.0
    by_row = inverse_degree(block.degree, power)
    by_column = by_row if column_degree is None else inverse_degree(column_degree, power)
    scale = np.repeat(by_row, block.csr.counts)
    if symmetric:
        scale *= by_column[block.indices]
    else:
        scale += by_column[block.indices]
        scale *= 0.5
    scale *= block.values
    return scale


def merge_layers(
    blocks: Sequence[Block],
    normalisation: Normalisation,
    degrees: Sequence[np.ndarray] | None = None,
    maps: Sequence[csr_array | None] | None = None,
    nodes: int | None = None,
) -> Block:
    """Return the mean over layers of the normalised graphs S of one mini-batch, or of one range of rows.

    A layer on a coarser grid enters the mean as g^T S g (Eqn. 3).

    Args:
        blocks: one block a layer, all of the same images.
        normalisation: see `normalise`.
        degrees: of blocks that have separate columns, the degrees (nodes,) of all nodes, one array a layer.
        maps: g of each layer, None where it has the run's nodes; None if all have.
        nodes: of the run; the columns of the result where the blocks have separate columns. By default those of
            the first layer.
    """
    maps = maps or [None] * len(blocks)
    rows = run_nodes(blocks[0].rows, maps[0])
    width = len(rows) if degrees is None else nodes or len(degrees[0])
    total = csr_matrix((len(rows), width))
    for layer, (block, g) in enumerate(zip(blocks, maps, strict=True)):
        column_degree = None if degrees is None else degrees[layer][block.column_ids]
        values = normalise(block, normalisation, column_degree)
        if g is not None:
            # The columns of a mini-batch are counted inside it, like its rows.
            places = np.arange(len(block.rows)) if degrees is None else block.column_ids
            part = to_run_nodes(csr_matrix((values, block.indices, block.indptr), shape=block.shape), places, g)
            part.resize(total.shape)
        else:
            indices = block.indices if degrees is None else block.column_ids.astype(np.int32)[block.indices]
            part = csr_matrix((values, indices, block.indptr), shape=total.shape)
        total = total + part
    total.sort_indices()
    merged = CsrRows.from_scipy(total)
    columns, indices = (None, merged.indices) if degrees is None else local_columns(merged.indices, width)
    return Block(
        rows=rows,
        indptr=merged.indptr,
        indices=indices,
        values=(merged.values / len(blocks)).astype(np.float32),
        degree=None,
        facts={"layers": len(blocks), "normalisation": normalisation},
        columns=columns,
    )


def write_merged(
    store: GraphStore, layers: Sequence[str], ids: Sequence[str], normalisation: Normalisation
) -> Iterator[str]:
    """Write the blocks `merged/<normalisation>/<id>` of these ids, and yield each id when it is written.

    Args:
        store: of the graph; all blocks of all layers lie in it.
        layers: their names.
        ids: of the blocks.
        normalisation: see `normalise`.

    Raises:
        ConfigError: there is no such normalisation.
    """
    require_normalisation(normalisation)
    if not ids:
        return
    store.make_folder(f"merged/{normalisation}")
    # Rows of scope dataset have columns in other blocks.
    wide = store.read(f"blocks/{layers[0]}/{ids[0]}").columns is not None
    degrees = [store.read_degrees(layer) for layer in layers] if wide else None
    maps = [layer_map(store.attributes, layer) for layer in layers]

    nodes = int(store.attributes["nodes"])

    def write(name: str) -> str:
        blocks = [store.read(f"blocks/{layer}/{name}") for layer in layers]
        store.write(f"merged/{normalisation}/{name}", merge_layers(blocks, normalisation, degrees, maps, nodes))
        return name

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(write, ids)
