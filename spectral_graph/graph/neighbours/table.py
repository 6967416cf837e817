"""The rows of a data set on disk, rewritten in the order of their cells, so that a cell is one contiguous read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import Cells
from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.graph.neighbours.scratch import Scratch

ARRAYS = ("rows", "projected", "node", "image", "inverse", "cell_ptr")


class Table:
    """Rows in the order of their cells, without zero rows.

    Attributes:
        rows: (m, d) float16 or float32, as the source keeps them.
        projected: (m, k) float16.
        node: (m,) int32, the node of each row; ascending in a cell.
        image: (m,) int32.
        inverse: (m,) float32, scales of the centred rows.
        cell_ptr: (cells + 1,) int64.
    """

    def __init__(self, scratch: Scratch) -> None:
        self.rows, self.projected, self.node, self.image, self.inverse, self.cell_ptr = (
            torch.from_numpy(scratch.get(name)) for name in ARRAYS
        )

    def __len__(self) -> int:
        return int(self.cell_ptr[-1])

    def own_cells(self, begin: int, end: int) -> torch.Tensor:
        """Return (end - begin,) int32, the cells of the rows begin to end of the table."""
        places = torch.arange(begin, end)
        return (torch.searchsorted(self.cell_ptr, places, right=True) - 1).int()

    def cell_of(self, nodes: int) -> np.ndarray:
        """Return (nodes,) int32, the cell of every node, -1 for a zero row."""
        cell = np.full(nodes, -1, np.int32)
        count = len(self)
        cell[self.node[:count].numpy()] = np.repeat(
            np.arange(len(self.cell_ptr) - 1, dtype=np.int32), np.diff(self.cell_ptr.numpy())
        )
        return cell


def write_table(
    scratch: Scratch,
    problem: SearchProblem,
    side: Side,
    cells: Cells,
    see: Callable[[int, torch.Tensor], None] | None = None,
) -> Table:
    """Write the table of a side in two passes: the first finds the cell of every row, the second moves the rows.

    Args:
        scratch: for the table.
        problem: the search.
        side: its queries or keys.
        cells: the cells.
        see: called with the first node and the unit rows (n, d) of every part of the first pass.

    Returns:
        The table.

    Raises:
        FeatureError: a row holds NaN or infinity.
    """
    nodes, depth = side.rows.shape
    width = cells.basis.shape[1]
    cell = np.full(nodes, -1, np.int32)
    inverse = np.zeros(nodes, np.float32)
    projected = scratch.new("by_node", (nodes, width), np.float16)
    for part in problem.groups():
        unit, scales, coordinates = side.unit(part, cells.basis)
        if see is not None:
            see(part.start, unit)
        # Rows are placed by the rounded coordinates that are kept: a query searches by the same bits.
        rounded = coordinates.half()
        cell[part] = torch.where(scales > 0, cells.place(rounded), -1).numpy()
        inverse[part] = scales.numpy()
        projected[part] = rounded.numpy()
        scratch.drop()
    order = np.argsort(cell, kind="stable")
    order = order[np.count_nonzero(cell < 0) :].astype(np.int32)
    place_of = np.full(nodes, -1, np.int32)
    place_of[order] = np.arange(len(order), dtype=np.int32)
    starts = scratch.new("cell_ptr", (len(cells) + 1,), np.int64)
    starts[0] = 0
    np.cumsum(np.bincount(cell[order], minlength=len(cells)), out=starts[1:])
    del cell

    room = max(1, len(order))
    rows = scratch.new("rows", (room, depth), side.rows.dtype)
    moved = scratch.new("projected", (room, width), np.float16)
    for name, values in (("node", order), ("image", problem.images[order]), ("inverse", inverse[order])):
        scratch.new(name, (room,), values.dtype)[: len(order)] = values
    for part in problem.groups():
        kept = place_of[part] >= 0
        chosen = slice(None) if kept.all() else kept
        to = place_of[part][chosen]
        rows[to] = side.rows.read(part)[chosen]
        moved[to] = projected[part][chosen]
        scratch.drop()
    scratch.drop()
    scratch.remove("by_node")
    return Table(scratch)
