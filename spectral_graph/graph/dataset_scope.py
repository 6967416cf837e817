"""Scope `dataset`: one N x N affinity graph, each node with its best neighbours of all images, built out of core.

Directed neighbour lists are written to disk, one file a range of rows; their transpose is read from there by ranges of
rows; rows of A = (B + B^T) / 2 are published as blocks. Memory: one block, and a few numbers a node. The graph depends
neither on how the rows are cut into blocks nor on interruptions: work files are kept until the layer is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.csr_rows import CsrRows, symmetrise_rows
from spectral_graph.graph.hubs import balance
from spectral_graph.graph.lists import ListFiles, Transposed
from spectral_graph.graph.selection import Selection
from spectral_graph.io.files import remove

HELD_BYTES = 128 << 20
"""Bytes of rows of A that stay in memory while balancing multiplies with them repeatedly."""


class InterLists(Protocol):
    """Neighbours in other images, as `spectral_graph.graph.neighbours.find_neighbours` returns them."""

    def csr(self, start: int, stop: int) -> CsrRows:
        """Return the rows start to stop."""


def plan_blocks(image_ptr: np.ndarray, block_nodes: int) -> np.ndarray:
    """Cut the images into contiguous parts of nearly equal size, (parts + 1,) int64, in images.

    Args:
        image_ptr: (images + 1,) int64, first node of each image.
        block_nodes: nodes of a part at most; a part has at least one image.
    """
    images = len(image_ptr) - 1
    at_most = max(1, block_nodes // int(np.diff(image_ptr).max()))
    parts = -(-images // at_most)
    return np.arange(parts + 1) * images // parts


@dataclass
class LayerBuilder:
    """Builds the blocks of one layer.

    Attributes:
        store: where the blocks go.
        layer: its name.
        image_ptr: (images + 1,) int64, first node of each image.
        image_bounds: (blocks + 1,) int64, first image of each block, from `plan_blocks`.
        selection: which affinities become edges.
        same: queries are keys (V-V, K-K).
        work: folder for files that are not needed afterwards; removed at the end.
    """

    store: GraphStore
    layer: str
    image_ptr: np.ndarray
    image_bounds: np.ndarray
    selection: Selection
    same: bool
    work: Path

    @property
    def bounds(self) -> np.ndarray:
        """(blocks + 1,) int64, first node of each block."""
        found: np.ndarray = self.image_ptr[self.image_bounds]
        return found

    def name(self, index: int) -> str:
        """Return the name of a block in the store."""
        return f"blocks/{self.layer}/{index:06d}"

    def missing(self) -> list[int]:
        """Return the blocks that are not in the store."""
        return [index for index in range(len(self.bounds) - 1) if not self.store.has(self.name(index))]

    def build(
        self,
        intra: Callable[[int, int], CsrRows],
        inter: InterLists | None,
        facts: Mapping[str, Any],
    ) -> Iterator[Block]:
        """Write all blocks that are missing, and yield each.

        Args:
            intra: gives the neighbour lists inside their images of the images start to stop, counted from their own
                first node.
            inter: neighbours in other images; None for none.
            facts: about the search, stored with each block; must hold `recall`.
        """
        todo = self.missing()
        if not todo:
            return
        lists = self._selected(self._files("candidates", lambda index: self._candidates(intra, inter, index)))
        backward = self._transposed(lists, "backward")
        if self.selection.hubs == "sinkhorn":
            finished = self._balanced(lists, backward)
        for index in todo:
            forward, chosen_by = self._both(lists, backward, index)
            if self.selection.hubs == "sinkhorn":
                graph = finished(index)
            else:
                graph = symmetrise_rows(forward, chosen_by, lists.nodes)
            block = self._block(index, graph, forward, chosen_by, facts)
            self.store.write(self.name(index), block)
            yield block
        remove(self.work)

    def _files(self, name: str, make: Callable[[int], CsrRows]) -> ListFiles:
        """Return list files; missing ones are made."""
        files = ListFiles(self.work / name, self.bounds)
        for index in range(len(files)):
            if not files.has(index):
                files.write(index, make(index))
        return files

    def _transposed(self, lists: ListFiles, name: str) -> Transposed:
        transposed = Transposed(lists, self.work / name)
        transposed.spill()
        return transposed

    def _candidates(self, intra: Callable[[int, int], CsrRows], inter: InterLists | None, index: int) -> CsrRows:
        start, stop = (int(bound) for bound in self.bounds[index : index + 2])
        first, last = (int(image) for image in self.image_bounds[index : index + 2])
        nodes = int(self.bounds[-1])
        inside = intra(first, last)
        lists = CsrRows(inside.indptr, inside.indices + np.int32(start), inside.values)
        if inter is not None:
            # No column is in both, so the sum only interleaves them.
            lists = CsrRows.from_scipy(lists.to_scipy(nodes) + inter.csr(start, stop).to_scipy(nodes))
        return lists if self.selection.hubs == "csls" else self.selection.weigh(lists)

    def _selected(self, candidates: ListFiles) -> ListFiles:
        """Return the lists after the treatment of hubs that works on directed lists."""
        selection, images = self.selection, len(self.image_ptr) - 1
        if selection.hubs == "csls":
            scales = self._scales(candidates)

            def choose(index: int) -> CsrRows:
                lists = candidates.read(index)
                return selection.weigh(selection.choose(lists, self._own(index, lists), scales))

            return self._files("chosen", choose)
        if selection.hubs == "cap":
            chosen_by = self._transposed(candidates, "chosen_by")
            capped = self._files("capped", lambda index: selection.cap(chosen_by.read(index), images))
            return self._files("kept", self._transposed(capped, "capped_back").read)
        return candidates

    def _scales(self, candidates: ListFiles) -> tuple[np.ndarray, np.ndarray]:
        """Return the csls scales of all keys, from their own lists if they are the queries, else from the transpose."""
        read = candidates.read if self.same else self._transposed(candidates, "named_by").read
        parts = []
        for index in range(len(candidates)):
            lists = read(index)
            parts.append(self.selection.scales(lists, self._own(index, lists)))
        inside, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
        return inside, outside

    def _own(self, index: int, lists: CsrRows) -> np.ndarray:
        """Return (nnz,) bool, whether each entry lies inside the image of its row."""
        first, last = (int(image) for image in self.image_bounds[index : index + 2])
        sizes = np.diff(self.image_ptr[first : last + 1])
        starts, ends = (np.repeat(self.image_ptr[a:b], sizes) for a, b in ((first, last), (first + 1, last + 1)))
        rows = lists.row_of_entry
        own: np.ndarray = (lists.indices >= starts[rows]) & (lists.indices < ends[rows])
        return own

    def _both(self, lists: ListFiles, backward: Transposed, index: int) -> tuple[CsrRows, CsrRows]:
        """Return the same rows of B and of B^T, as they enter A."""
        forward, chosen_by = lists.read(index), backward.read(index)
        if self.selection.hubs != "mutual":
            return forward, chosen_by
        nodes = lists.nodes
        return self.selection.mutual(forward, chosen_by, nodes), self.selection.mutual(chosen_by, forward, nodes)

    def _balanced(self, lists: ListFiles, backward: Transposed) -> Callable[[int], CsrRows]:
        """Return a function that gives the rows of D A D of a block (hubs = sinkhorn)."""
        files = self._files("symmetric", lambda i: symmetrise_rows(*self._both(lists, backward, i), lists.nodes))

        held: dict[int, csr_matrix] = {}

        def rows(index: int) -> csr_matrix:
            if index in held:
                return held[index]
            part = files.read(index).to_scipy(files.nodes).astype(np.float64)
            if sum(map(_size, held.values())) + _size(part) <= HELD_BYTES:
                held[index] = part
            return part

        def product(x: np.ndarray) -> np.ndarray:
            return np.concatenate([rows(index) @ x for index in range(len(files))])

        d = balance(product, np.concatenate([files.read(index).row_sums for index in range(len(files))]))
        held.clear()
        return lambda index: files.read(index).scaled(int(self.bounds[index]), d)

    def _block(
        self, index: int, graph: CsrRows, forward: CsrRows, chosen_by: CsrRows, facts: Mapping[str, Any]
    ) -> Block:
        columns, indices = local_columns(graph.indices, int(self.bounds[-1]))
        wanted = self.selection.wanted(len(self.image_ptr) - 1)
        return Block(
            rows=np.arange(self.bounds[index], self.bounds[index + 1]),
            indptr=graph.indptr,
            indices=indices,
            values=graph.values,
            degree=graph.row_sums,
            facts={**facts, "short_rows": int((forward.counts < wanted).sum())},
            columns=columns,
            in_degree=chosen_by.counts.astype(np.int32),
        )


def _size(matrix: csr_matrix) -> int:
    return int(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes)
