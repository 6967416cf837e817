"""The rows of a data set on disk, rewritten in the order of their cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import Cells
from spectral_graph.graph.neighbours.pages import Scratch
from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.ops import unit_project

ARRAYS = ("rows", "projected", "node", "image", "inverse", "cell_ptr")


class Table:
    """Rows in the order of their cells; rows without length are left out.

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
        """Return (nodes,) int32, the cell of every node, -1 for one that was left out."""
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
    """Write the table of a side: one pass that places every row, one that moves it there.

    Args:
        scratch: for the table.
        problem: the search.
        side: its queries or keys.
        cells: the cells.
        see: is shown the first node and the unit rows (n, d) of every part of the first pass.

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
    for begin, end in problem.groups():
        raw = torch.from_numpy(side.rows.read(slice(begin, end)))
        unit, scales, coordinates = unit_rows_of(problem, side, raw, np.arange(begin, end), cells.basis)
        if see is not None:
            see(begin, unit)
        # Rows are placed by the coordinates that are kept: a query searches by the same bits.
        rounded = coordinates.half()
        cell[begin:end] = torch.where(scales > 0, cells.place(rounded), -1).numpy()
        inverse[begin:end] = scales.numpy()
        projected[begin:end] = rounded.numpy()
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
    for begin, end in problem.groups():
        to = place_of[begin:end]
        kept = to >= 0
        if kept.all():
            rows[to] = side.rows.read(slice(begin, end))
            moved[to] = projected[begin:end]
        else:
            rows[to[kept]] = side.rows.read(slice(begin, end))[kept]
            moved[to[kept]] = projected[begin:end][kept]
        scratch.drop()
    scratch.drop()
    scratch.remove("by_node")
    return Table(scratch)


def unit_rows_of(
    problem: SearchProblem, side: Side, raw: torch.Tensor, nodes: np.ndarray, basis: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `unit_project` of the rows of some nodes.

    Raises:
        FeatureError: a row holds NaN or infinity.
    """
    unit, scales, projected = unit_project(raw, side.mean, basis)
    side.require_finite(scales, nodes, problem.image_ptr)
    return unit, scales, projected
