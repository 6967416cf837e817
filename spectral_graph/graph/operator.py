"""`operator @ X` with a graph that lies on disk, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from spectral_graph.errors import GraphError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.ops import csr_spmm

KEPT_BYTES = 64 << 20


class BlockOperator:
    """A sparse symmetric N x N matrix: the mean, over rounds, of the blocks on the nodes that they cover.

    Memory: one block, its rows of X and of the result; blocks are kept in memory up to `kept_bytes` altogether.

    Args:
        store: where the blocks lie.
        names: the blocks; each node is in `rounds` of them.
        nodes: N.
        rounds: how many blocks cover each node.
        kept_bytes: how much of the graph may stay in memory between products.
    """

    def __init__(
        self, store: GraphStore, names: Sequence[str], nodes: int, rounds: int, kept_bytes: int = KEPT_BYTES
    ) -> None:
        if not names:
            raise GraphError(f"{store.path} has no blocks to multiply with; build them with: spectral-graph graph")
        self._store, self._names, self._rounds = store, tuple(names), rounds
        self.shape = (nodes, nodes)
        self._kept: dict[str, Block] = {}
        self._room = kept_bytes

    def _block(self, name: str) -> Block:
        block = self._kept.get(name)
        if block is None:
            block = self._store.read(name)
            size = sum(part.nbytes for part in (block.rows, block.indptr, block.indices, block.values))
            if size <= self._room:
                self._room -= size
                self._kept[name] = block
        return block

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the product with `x` (N, C) float32 into `out` (N, C) float32; both may be memory-mapped."""
        if x.shape != out.shape or x.shape[0] != self.shape[0]:
            raise GraphError(f"operator @ X: X has shape {x.shape}, expected ({self.shape[0]}, C)")
        single = len(self._names) == 1
        if not single:
            out[:] = 0
        for name in self._names:
            block = self._block(name)
            whole = single and len(block.rows) == self.shape[0]
            part = x if whole else x[block.rows]
            product = csr_spmm(
                torch.from_numpy(block.indptr),
                torch.from_numpy(block.indices),
                torch.from_numpy(block.values),
                _borrow(np.ascontiguousarray(part)),
                check=False,
            ).numpy()
            if whole:
                np.divide(product, np.float32(self._rounds), out=out)
            else:
                out[block.rows] += product / np.float32(self._rounds)

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Return the product with x (N,) or (N, C) float32."""
        columns = np.ascontiguousarray(x, np.float32).reshape(self.shape[0], -1)
        out = np.empty_like(columns)
        self.apply(columns, out)
        return out.reshape(x.shape)


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
