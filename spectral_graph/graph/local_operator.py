"""The rows of the operator that one process owns, and the rows of X that others own and it needs.

Each process owns the rows of a contiguous range of images. A product needs the rows of X that the columns of its rows
name: its own, and a halo of rows that other processes own. The processes agree on them once. Each product begins with
their exchange, and no other rows of X are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spectral_graph.distributed.comm import Comm
from spectral_graph.errors import ConfigError
from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.merge import Normalisation, require_normalisation
from spectral_graph.graph.operand import ReadyBlock, require_columns
from spectral_graph.graph.operator import KEPT_BYTES, BlockOperator
from spectral_graph.io.files import allocate, reporting_full_disk, require_space

HALO_BYTES = 256 << 20
"""Up to this size the rows that a product needs are gathered in memory, above it on disk."""
PIECE = 1 << 16
"""Rows that are sent to another process at a time."""


class LocalOperator(BlockOperator):
    """The rows of a stored operator that belong to the images of this process.

    Args:
        store: where the blocks lie.
        names: all blocks of the operator.
        nodes: N.
        rounds: number of blocks that cover each node.
        nodes_per_image: rows of an image.
        comm: the processes; all must make the operator at the same time.
        work: folder for working space.
        kept_bytes: bytes of the graph that may stay in memory between products.

    Raises:
        ConfigError: there are fewer images than processes.
    """

    def __init__(
        self,
        store: GraphStore,
        names: Sequence[str],
        nodes: int,
        rounds: int,
        nodes_per_image: int,
        comm: Comm,
        work: Path,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        images = nodes // nodes_per_image
        if images < comm.size:
            raise ConfigError(
                f"{comm.size} processes, but only {images} images to share out; lower --nproc-per-node of torchrun"
            )
        super().__init__(store, names, nodes, rounds, kept_bytes)
        owned = [comm.owned(images, rank) for rank in range(comm.size)]
        bounds = np.array([part.start * nodes_per_image for part in owned] + [nodes])
        self.comm = comm
        self.rows = range(int(bounds[comm.rank]), int(bounds[comm.rank + 1]))
        self._work = comm.folder(work)
        self._names = tuple(name for name in names if len(_inside(store.read_rows(name), self.rows)))
        self._ids = self._needed()
        self._starts = np.searchsorted(self._ids, bounds)
        self._asked = self._ask()
        self._given = [range(int(a), int(b)) for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]
        self._given[comm.rank] = range(0)
        self._longest = max(*map(len, self._asked), *map(len, self._given))
        self._room_of_halo = np.empty(0, np.float32)

    @property
    def halo(self) -> int:
        """Number of rows of X that this process needs and others own."""
        return len(self._ids) - len(self.rows)

    def gathered(self, x: np.ndarray) -> np.ndarray:
        """Return the rows of X that the columns of the blocks refer to, own rows and those of other processes.

        Raises:
            GraphError: x does not hold the `rows` of this process.
        """
        require_columns("operator @ X: X", x, len(self.rows))
        comm, channels = self.comm, x.shape[1]
        wide = self._halo(len(self._ids) * channels).reshape(len(self._ids), channels)
        starts = self._starts
        wide[starts[comm.rank] : starts[comm.rank + 1]] = x
        # Two processes exchange as many pieces as their own lists have, however many others there are.
        for at in range(0, self._longest, PIECE):
            out = [x[rows[at : at + PIECE]] for rows in self._asked]
            into = [wide[places.start + at : places.stop][:PIECE] for places in self._given]
            comm.exchange(out, into)
        return wide

    def _needed(self) -> np.ndarray:
        """Return the nodes whose rows of X the own rows name, and the own ones, ascending."""
        wanted = np.zeros(self.shape[0], bool)
        wanted[self.rows.start : self.rows.stop] = True
        for name in self._names:
            wanted[self._cut(self._store.read(name)).column_ids] = True
        return np.flatnonzero(wanted)

    def _ask(self) -> list[np.ndarray]:
        """Tell each process which of its rows are needed here; return which rows held here each of them needs."""
        comm = self.comm
        wanted = [self._ids[a:b] for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]
        counts = comm.gather(np.array([len(part) for part in wanted]))
        asked = [np.empty(int(count[comm.rank]), np.int64) for count in counts]
        comm.exchange(wanted, asked)
        asked[comm.rank] = np.empty(0, np.int64)
        return [nodes - self.rows.start for nodes in asked]

    def _cut(self, block: Block) -> Block:
        """Return the own rows of a block, with the columns that occur in them."""
        keep = _inside(block.rows, self.rows)
        if len(keep) == len(block.rows) and block.columns is not None:
            return block
        part = block.csr.part(keep.start, keep.stop)
        columns, places = local_columns(part.indices, len(block.column_ids))
        return Block(
            rows=block.rows[keep.start : keep.stop],
            indptr=part.indptr,
            indices=places,
            values=part.values.copy(),  # so that the rest of the block can be freed
            degree=None,
            facts=block.facts,
            columns=block.column_ids[columns],
        )

    def ready(self, block: Block) -> ReadyBlock:
        """Return the rows of a block that this process holds, its columns counted as in the rows of `gathered`."""
        part = self._cut(block)
        columns = np.searchsorted(self._ids, part.column_ids)
        return ReadyBlock.of(replace(part, rows=part.rows - self.rows.start, columns=columns))

    def _halo(self, size: int) -> np.ndarray:
        """Return a buffer of `size` float32 numbers with arbitrary content."""
        if len(self._room_of_halo) < size:
            self._room_of_halo = np.empty(0, np.float32)
            self._room_of_halo = self._new_room(size)
        return self._room_of_halo[:size]

    def _new_room(self, size: int) -> np.ndarray:
        if size * 4 <= HALO_BYTES:
            return np.empty(size, np.float32)
        self._work.mkdir(parents=True, exist_ok=True)
        require_space(self._work, size * 4, "working space of the solver")
        file = self._work / "halo.f32"
        with reporting_full_disk(self._work), file.open("wb") as handle:
            allocate(handle, size * 4)
        room = np.memmap(file, np.float32, "r+", shape=(size,))
        file.unlink()  # the memory map keeps it, and nothing is left behind
        return room


def local_operator(store: GraphStore, normalisation: Normalisation, comm: Comm, work: Path) -> LocalOperator:
    """Return the own rows of the merged, normalised operator of all layers; all processes must call it together.

    Raises:
        ConfigError: there is no such normalisation, or there are fewer images than processes.
    """
    require_normalisation(normalisation)
    names, about = store.names(f"merged/{normalisation}"), store.attributes
    return LocalOperator(store, names, about["nodes"], about["rounds"], about["nodes_per_image"], comm, work)


def _inside(rows: np.ndarray, own: range) -> range:
    """Return the places in ascending `rows` of those that lie in `own`."""
    return range(int(np.searchsorted(rows, own.start)), int(np.searchsorted(rows, own.stop)))
