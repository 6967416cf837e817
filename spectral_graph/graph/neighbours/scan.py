"""The exact neighbours of some queries, gathered while all keys pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.table import unit_rows_of
from spectral_graph.ops import cell_topc


@dataclass
class Scan:
    """The best keys of some queries among the keys seen so far.

    Attributes:
        nodes: (n,) the queries, ascending.
        unit: (n, d) float32, their unit rows; rows without length are zero and find nothing.
        projected: (n, k) float32, the coordinates of the unit rows in the directions given.
        image: (n,) int32.
        columns: (n, places) int32, the best keys so far, -1 on free places.
        values: (n, places) float32, their cosines, descending; -inf on free places.
        threshold: least cosine that is kept.
        images: (nodes,) int32, the image of every node.
    """

    nodes: np.ndarray
    unit: torch.Tensor
    projected: torch.Tensor
    image: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    threshold: float
    images: torch.Tensor

    @classmethod
    def start(cls, problem: SearchProblem, nodes: np.ndarray, places: int, basis: torch.Tensor | None = None) -> Scan:
        """Read the queries.

        Args:
            problem: the search.
            nodes: (n,) the queries, ascending.
            places: keys kept for each.
            basis: (d, k) float32, the directions; None for none.
        """
        raw = torch.from_numpy(problem.query.rows.read(nodes))
        directions = torch.zeros(raw.shape[1], 0) if basis is None else basis
        unit, _, projected = unit_rows_of(problem, problem.query, raw, nodes, directions)
        images = torch.from_numpy(problem.images)
        free = torch.full((len(nodes), places), -1, dtype=torch.int32)
        image = images[torch.from_numpy(nodes)]
        return cls(nodes, unit, projected, image, free, torch.full(free.shape, -torch.inf), problem.threshold, images)

    def see(self, begin: int, unit: torch.Tensor) -> None:
        """Look at the unit rows (n, d) of the keys from node `begin` on."""
        queries, places = self.columns.shape
        columns, values = cell_topc(
            self.unit,
            self.image,
            unit,
            self.images[begin : begin + len(unit)],
            torch.tensor([0, len(unit)]),
            torch.zeros((queries, 1), dtype=torch.int32),
            places,
        )
        keep = (columns >= 0) & (values > 0) & (values >= torch.tensor(self.threshold, dtype=torch.float32))
        columns = torch.where(keep, columns + begin, -1)
        values = torch.where(keep, values, -torch.inf)
        # Earlier keys stand first and have lower numbers: a stable sort leaves ties to the lower column.
        both = torch.cat([self.values, values], 1)
        self.values, order = both.sort(dim=1, descending=True, stable=True)
        self.values = self.values[:, :places].contiguous()
        self.columns = torch.cat([self.columns, columns], 1).gather(1, order[:, :places])

    def part(self, which: slice) -> Scan:
        """Return the same of some of the queries."""
        names = ("nodes", "unit", "projected", "image", "columns", "values")
        return replace(self, **{name: getattr(self, name)[which] for name in names})
