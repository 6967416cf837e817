"""`operator @ X` with a graph that lies on disk, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.errors import GraphError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.layer_grids import layer_nodes
from spectral_graph.graph.merge import Normalisation, require_normalisation
from spectral_graph.graph.operand import ReadyBlock, dense_operand, require_columns
from spectral_graph.graph.wavefront import Extent, Wavefront, plan_wavefront
from spectral_graph.io.paging import Pager, exceed_memory
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.memory import left_bytes, limit_bytes
from spectral_graph.ops import csr_spmm

KEPT_BYTES = 64 << 20
SWEEP_BYTES = 640 << 20
"""Memory budget in bytes for the blocks and rows in use during a sweep of several products."""
SWEEP_SHARE = 0.7
"""The same as a share of the available memory, where that is less."""
READERS = 3
"""Blocks read ahead at the same time."""
CACHED_SHARE = 0.25
"""Share of the memory above which a graph is not left in the system's cache."""


@dataclass(frozen=True)
class Visit:
    """A visit of one of several products to a block.

    Attributes:
        product: its number, from 0.
        block: the block.
        needs: the products that run together have read or changed rows before this one so far.
        free: after the visit they neither read nor change rows before this one.
    """

    product: int
    block: ReadyBlock
    needs: int
    free: int


class BlockOperator:
    """A sparse symmetric N x N matrix: the mean, over rounds, of the blocks on the nodes that they cover.

    Memory: one block and the next READERS, the rows of X that it needs and its rows of the result; blocks are kept in
    memory up to `kept_bytes` altogether.

    Args:
        store: where the blocks lie.
        names: the blocks; each node is in the rows of `rounds` of them.
        nodes: N.
        rounds: number of blocks that cover each node; the operator is their mean.
        kept_bytes: bytes of the graph that may stay in memory between products.

    Attributes:
        shape: (N, N).
        rows: which rows of X and of the result this process holds; here all of them.
        comm: the processes that hold the others.
    """

    comm: Comm = ONE_PROCESS
    dtype = np.dtype(np.float32)

    def __init__(
        self, store: GraphStore, names: Sequence[str], nodes: int, rounds: int, kept_bytes: int = KEPT_BYTES
    ) -> None:
        if not names:
            raise GraphError(f"{store.path} has no blocks to multiply with; build them with: spectral-graph graph")
        self._store, self._names, self.rounds = store, tuple(names), rounds
        self.shape = (nodes, nodes)
        self.rows = range(nodes)
        self._kept: dict[str, ReadyBlock] = {}
        self._extents: dict[int, Extent | None] = {}
        self._plans: dict[tuple[int, int], Wavefront] = {}
        self._sweep_bytes: dict[int, int] = {}
        self._kept_bytes, self._most_bytes = 0, kept_bytes
        self._seen_bytes, self._large = 0, False

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self._names)

    @property
    def halo(self) -> int:
        """Number of rows of X that this process needs and others own."""
        return 0

    def blocks(self, which: Sequence[int] | None = None, keep: bool = True) -> Iterator[ReadyBlock]:
        """Yield the blocks in a fixed order, with the next ones read ahead from disk unless they were kept.

        Args:
            which: the numbers of some, ascending; all by default.
            keep: whether those that are read may stay in memory.
        """
        order = range(self.count) if which is None else which
        reading: dict[int, Future[ReadyBlock]] = {}
        with ThreadPoolExecutor(READERS) as readers:
            for place, index in enumerate(order):
                for following in order[place + 1 : place + 1 + READERS]:
                    if following not in reading and self._names[following] not in self._kept:
                        reading[following] = readers.submit(self._read, following)
                if index in reading:
                    yield self._keep(index, reading.pop(index).result(), keep)
                else:
                    yield self._block(index, keep)

    def local(self, products: int, row_bytes: int) -> bool:
        """Return whether `sweep` computes these products with few blocks and rows in use at a time."""
        return self._plan(products, row_bytes).local

    def sweep(self, products: int, row_bytes: int) -> Iterator[tuple[range, Iterator[Visit]]]:
        """Yield the visits of consecutive products, each of which overwrites the result of the last but one.

        Every product visits all blocks in their order. Where blocks share nodes with few others, the next product
        follows at the distance of a few blocks, so that blocks and rows are used several times while they are in
        memory.

        Args:
            products: their number; each node must be in the rows of one block only.
            row_bytes: bytes of a row of both arrays, the one read and the one written.

        Yields:
            Products that run together, and their visits, to be made before the next products are requested.
        """
        wavefront, begin = self._plan(products, row_bytes), 0
        while begin < products:
            if products - begin < wavefront.depth:
                wavefront = self._plan(products - begin, row_bytes)
            yield range(begin, begin + wavefront.depth), self._visits(wavefront, begin)
            begin += wavefront.depth

    def _plan(self, products: int, row_bytes: int) -> Wavefront:
        if (products, row_bytes) not in self._plans:
            for index in range(len(self._names)):
                if index not in self._extents:
                    self._block(index)
            extents = [self._extents[index] for index in range(len(self._names))]
            # Once for all plans of a sweep: they must agree about `local`, whatever else comes to take memory.
            memory = self._sweep_bytes.setdefault(row_bytes, min(SWEEP_BYTES, int(SWEEP_SHARE * left_bytes())))
            self._plans[products, row_bytes] = plan_wavefront(extents, products, row_bytes, memory)
        return self._plans[products, row_bytes]

    def _visits(self, wavefront: Wavefront, begin: int) -> Iterator[Visit]:
        held: dict[int, ReadyBlock] = {}
        blocks = self.blocks()
        for product, index in wavefront.visits:
            if product == 0:
                held[index] = next(blocks)
            ends = product == wavefront.depth - 1
            block = held.pop(index) if ends else held[index]
            yield Visit(begin + product, block, wavefront.needs[index], wavefront.free[index] if ends else 0)

    def _block(self, index: int, keep: bool = True) -> ReadyBlock:
        kept = self._kept.get(self._names[index])
        return self._keep(index, self._read(index), keep) if kept is None else kept

    def _read(self, index: int) -> ReadyBlock:
        return self.ready(self._stored(self._names[index]))

    def _stored(self, name: str) -> Block:
        # In a sweep over a graph larger than the cache, the system would evict each block just before its next use.
        return self._store.read(name, cached=False) if self._large else self._store.read(name)

    def _keep(self, index: int, ready: ReadyBlock, keep: bool) -> ReadyBlock:
        if index not in self._extents:
            self._extents[index] = ready.extent
            self._seen_bytes += ready.nbytes
            self._large = self._seen_bytes / len(self._extents) * len(self._names) > CACHED_SHARE * limit_bytes()
        if keep and self._kept_bytes + ready.nbytes <= self._most_bytes:
            self._kept_bytes += ready.nbytes
            self._kept[self._names[index]] = ready
        return ready

    def allow(self, kept_bytes: int) -> None:
        """Let blocks stay in memory up to `kept_bytes` altogether, if that is more than before."""
        self._most_bytes = max(self._most_bytes, kept_bytes)

    def gathered(self, x: np.ndarray) -> np.ndarray:
        """Return the rows of X that the blocks' columns count, from the rows held here; called once a product.

        Raises:
            GraphError: x does not hold the `rows` of this process.
        """
        require_columns("operator @ X: X", x, len(self.rows))
        return x

    def ready(self, block: Block) -> ReadyBlock:
        """Return the rows of a block that this process holds, its columns counted as in the rows of `gathered`."""
        return ReadyBlock.of(block)

    def apply(self, x: np.ndarray, out: np.ndarray) -> None:
        """Write the product with `x` (N, C) float32 into `out` (N, C) float32; both may be memory-mapped.

        Both hold the `rows` of this process.

        Raises:
            GraphError: an array has another shape or dtype, `out` is read-only, or both share memory.
        """
        require_columns("operator @ X: X", x, len(self.rows))
        require_columns("operator @ X: out", out, len(self.rows))
        if x.shape != out.shape:
            raise GraphError(f"operator @ X: out has shape {out.shape}, expected that of X, {x.shape}")
        if not out.flags.writeable:
            raise GraphError("operator @ X: out is read-only; pass an array that can be written")
        if np.may_share_memory(x, out):
            raise GraphError(
                "operator @ X: out shares memory with X, which the product still reads; pass another array"
            )
        row_bytes = x.strides[0] + out.strides[0]
        if self.rounds == self.comm.size == 1 and exceed_memory(x, out) and self.local(1, row_bytes):
            with Pager(x, out) as pager:
                pager.begin([True, False], [False, True])
                source, target = pager.arrays
                for _, visits in self.sweep(1, row_bytes):
                    for visit in visits:
                        pager.reach(visit.needs)
                        target[visit.block.rows] = block_product(visit.block, source)
                        pager.finished(visit.free)
            return
        if self.rounds > 1:
            out[:] = 0
        x = self.gathered(x)
        for ready in self.blocks():
            product = block_product(ready, x)
            if self.rounds > 1:
                out[ready.rows] += product / np.float32(self.rounds)
            else:
                out[ready.rows] = product

    def to_scipy(self) -> csr_array:
        """Return the matrix (N, N) float32, in memory; of several processes none holds all of it."""
        nodes = np.arange(self.shape[0], dtype=np.int32)
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for ready in self.blocks(keep=False):
            indptr, indices, values = (part.numpy() for part in ready.matrix)
            rows = np.repeat(nodes[ready.rows], np.diff(indptr))
            parts.append((values / np.float32(self.rounds), rows, nodes[ready.columns][indices]))
        values, rows, columns = map(np.concatenate, zip(*parts, strict=True))
        return csr_array((values, (rows, columns)), shape=self.shape)  # sums entries of several rounds

    def matvec(self, x: Any) -> np.ndarray:
        """Return the product with x; `scipy.sparse.linalg.aslinearoperator` and the solvers of SciPy call it."""
        return self @ x

    matmat = matvec

    def __matmul__(self, x: Any) -> np.ndarray:
        """Return the product with x, float32 of the shape of x, of the `rows` of this process.

        Args:
            x: (N,) or (N, C) real numbers, see `dense_operand`.

        Raises:
            GraphError: x is something else.
        """
        given = dense_operand(x, len(self.rows))
        columns = given[:, None] if given.ndim == 1 else given
        out = np.empty(columns.shape, np.float32)
        if columns.size:
            self.apply(columns, out)
        return out.reshape(given.shape)


def block_product(block: ReadyBlock, x: np.ndarray) -> np.ndarray:
    """Return what a block adds to its rows of the product with x (N, C)."""
    product: np.ndarray = csr_spmm(*block.matrix, as_readonly_tensor(x[block.columns]), check=False).numpy()
    return product


def affinity_operator(store: GraphStore, layer: str) -> BlockOperator:
    """Return the raw affinity A of one layer (the mean over rounds) as an operator on the nodes of its graph.

    Raises:
        GraphError: the store has no blocks of that layer; the message names those that it has.
    """
    names = store.names(f"blocks/{layer}")
    if not names:
        there = ", ".join(name.removeprefix("blocks/") for name in store.names("blocks")) or "none"
        raise GraphError(f"{store.path} has no blocks of layer {layer!r}; there are: {there}")
    return BlockOperator(store, names, layer_nodes(store.attributes, layer), int(store.attributes["rounds"]))


def merged_operator(store: GraphStore, normalisation: Normalisation) -> BlockOperator:
    """Return the merged, normalised operator of all layers.

    Raises:
        ConfigError: there is no such normalisation.
        GraphError: the store has no blocks of it.
    """
    require_normalisation(normalisation)
    names = store.names(f"merged/{normalisation}")
    return BlockOperator(store, names, int(store.attributes["nodes"]), int(store.attributes["rounds"]))
