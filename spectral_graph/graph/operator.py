"""`operator @ X` with a graph that lies on disk, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spectral_graph.errors import GraphError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.ops import csr_spmm

KEPT_BYTES = 64 << 20
NEARLY_ALL = 0.5
"""Share of the nodes from which on a block's columns are read from X in place instead of being gathered first."""


@dataclass(frozen=True)
class ReadyBlock:
    """A block as `csr_spmm` takes it.

    Attributes:
        rows: the rows of the result that it adds to; a slice where they are contiguous.
        columns: the rows of X that it needs; None for all.
        matrix: indptr, indices into those rows of X, values.
    """

    rows: np.ndarray | slice
    columns: np.ndarray | slice | None
    matrix: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, block: Block, nodes: int) -> ReadyBlock:
        """Make a stored block of a graph of that many nodes ready."""
        rows, columns, indices = _span(block.rows), _span(block.column_ids), block.indices
        whole: np.ndarray | slice | None = columns
        if len(block.column_ids) >= NEARLY_ALL * nodes and block.columns is not None:
            whole, indices = None, block.columns.astype(np.int32)[indices]
        parts = (block.indptr, indices, block.values)
        indptr, places, values = (torch.from_numpy(part) for part in parts)
        return cls(rows, whole, (indptr, places, values))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        ids = (part.nbytes for part in (self.rows, self.columns) if isinstance(part, np.ndarray))
        return sum(part.numel() * part.element_size() for part in self.matrix) + sum(ids)


class BlockOperator:
    """A sparse symmetric N x N matrix: the mean, over rounds, of the blocks on the nodes that they cover.

    Memory: one block, the rows of X that it needs and its rows of the result; blocks are kept in memory up to
    `kept_bytes` altogether.

    Args:
        store: where the blocks lie.
        names: the blocks; each node is in the rows of `rounds` of them.
        nodes: N.
        rounds: how many blocks cover each node; the operator is their mean.
        kept_bytes: how much of the graph may stay in memory between products.
    """

    def __init__(
        self, store: GraphStore, names: Sequence[str], nodes: int, rounds: int, kept_bytes: int = KEPT_BYTES
    ) -> None:
        if not names:
            raise GraphError(f"{store.path} has no blocks to multiply with; build them with: spectral-graph graph")
        self._store, self._names, self.rounds = store, tuple(names), rounds
        self.shape = (nodes, nodes)
        self._kept: dict[str, ReadyBlock] = {}
        self._room = kept_bytes

    def blocks(self) -> Iterator[ReadyBlock]:
        """Yield the blocks in a fixed order, each read from disk unless it was kept."""
        for name in self._names:
            ready = self._kept.get(name)
            if ready is None:
                ready = ReadyBlock.of(self._store.read(name), self.shape[0])
                if ready.nbytes <= self._room:
                    self._room -= ready.nbytes
                    self._kept[name] = ready
            yield ready

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the product with `x` (N, C) float32 into `out` (N, C) float32; both may be memory-mapped."""
        if x.shape != out.shape or x.shape[0] != self.shape[0]:
            raise GraphError(f"operator @ X: X has shape {x.shape}, expected ({self.shape[0]}, C)")
        if self.rounds > 1:
            out[:] = 0
        for ready in self.blocks():
            part = x if ready.columns is None else x[ready.columns]
            product = csr_spmm(*ready.matrix, _borrow(np.ascontiguousarray(part)), check=False).numpy()
            if self.rounds > 1:
                out[ready.rows] += product / np.float32(self.rounds)
            else:
                out[ready.rows] = product

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Return the product with x (N,) or (N, C) float32."""
        columns = np.ascontiguousarray(x, np.float32).reshape(self.shape[0], -1)
        out = np.empty_like(columns)
        self.apply(columns, out)
        return out.reshape(x.shape)


def _span(ids: np.ndarray) -> np.ndarray | slice:
    """Return ascending ids as a slice where they are contiguous."""
    if len(ids) and ids[-1] - ids[0] == len(ids) - 1:
        return slice(int(ids[0]), int(ids[-1]) + 1)
    return ids


def _borrow(array: np.ndarray) -> torch.Tensor:
    """Return a tensor over the memory of `array`, which may be a read-only memory map; the tensor is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def affinity_operator(store: GraphStore, layer: str) -> BlockOperator:
    """Return the raw affinity A of one layer (the mean over rounds) as an operator."""
    names = store.names(f"blocks/{layer}")
    return BlockOperator(store, names, int(store.attributes["nodes"]), int(store.attributes["rounds"]))


def merged_operator(store: GraphStore, normalisation: str) -> BlockOperator:
    """Return the merged, normalised operator of all layers."""
    names = store.names(f"merged/{normalisation}")
    return BlockOperator(store, names, int(store.attributes["nodes"]), int(store.attributes["rounds"]))
