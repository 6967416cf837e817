"""The exact neighbours of some queries, collected while all keys pass; nodes that are searched again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from spectral_graph.graph.neighbours.lists import NeighbourLists
from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.ops import cell_topc

TESTED = 32
"""Suspect nodes that are always compared with all keys; that takes some hundredths of the time of a search."""
MOST_SCANNED = 4096
"""Most nodes that are compared with all keys; that takes a few times as long as a search."""
READ_LISTS = 1 << 20


@dataclass
class Scan:
    """The best keys of some queries among the keys seen so far.

    Attributes:
        problem: the search.
        nodes: (n,) the queries, ascending.
        unit: (n, d) float32, their unit rows; zero rows find nothing.
        projected: (n, k) float32, the coordinates of the unit rows in the basis given.
        image: (n,) int32.
        columns: (n, places) int32, the best keys so far, -1 on free places.
        values: (n, places) float32, their cosines, descending; -inf on free places.
        images: (nodes,) int32, the image of every node.
    """

    problem: SearchProblem
    nodes: np.ndarray
    unit: torch.Tensor
    projected: torch.Tensor
    image: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    images: torch.Tensor

    @classmethod
    def start(cls, problem: SearchProblem, nodes: np.ndarray, places: int, basis: torch.Tensor | None = None) -> Scan:
        """Read the queries.

        Args:
            problem: the search.
            nodes: (n,) the queries, ascending.
            places: keys kept for each.
            basis: (d, k) float32; None for no coordinates.
        """
        unit, _, projected = problem.query.unit(nodes, basis)
        images = torch.from_numpy(problem.images)
        free = torch.full((len(nodes), places), -1, dtype=torch.int32)
        image = images[torch.from_numpy(nodes)]
        return cls(problem, nodes, unit, projected, image, free, torch.full(free.shape, -torch.inf), images)

    def see(self, begin: int, unit: torch.Tensor) -> None:
        """Compare with the unit rows (n, d) of the keys from node `begin` on."""
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
        keep = self.problem.kept(columns, values)
        columns = torch.where(keep, columns + begin, -1)
        values = torch.where(keep, values, -torch.inf)
        # Earlier keys stand first and have lower numbers: a stable sort leaves ties to the lower column.
        both = torch.cat([self.values, values], 1)
        self.values, order = both.sort(dim=1, descending=True, stable=True)
        self.values = self.values[:, :places].contiguous()
        self.columns = torch.cat([self.columns, columns], 1).gather(1, order[:, :places])

    def part(self, which: slice) -> Scan:
        """Return the scan of some of the queries."""
        names = ("nodes", "unit", "projected", "image", "columns", "values")
        return replace(self, **{name: getattr(self, name)[which] for name in names})


def search_again(
    problem: SearchProblem, lists: NeighbourLists, there: np.ndarray, lacking: Sequence[int] | np.ndarray = ()
) -> int:
    """Compare with all keys the nodes that certainly or probably lost most of their neighbours, and store the result.

    A node with at most half a list is a suspect: few cosines exceed the threshold, or the search missed them. Some
    suspects are tested. If one of them lost half a list, all are searched again, those with the fewest neighbours
    first. Lists change at the very end, so that an interrupted search resumes before it.

    Args:
        problem: the search.
        lists: of all nodes.
        there: (nodes,) bool, whether a node's row is not zero; zero rows have no neighbours.
        lacking: nodes that certainly lack neighbours.

    Returns:
        The number of nodes searched again.
    """
    suspects = _suspects(lists, there)
    places = np.linspace(0, len(suspects) - 1, min(TESTED, len(suspects))).astype(np.int64)
    tested = suspects[places]
    scans = [_scan(problem, tested)]
    lost = (scans[0][0] >= 0).sum(1) - (lists.columns[tested] >= 0).sum(1)
    nodes = np.asarray(lacking, np.int64)
    if (lost >= (problem.count + 1) // 2).any():
        nodes = np.union1d(nodes, suspects)
    nodes = np.setdiff1d(nodes, tested)
    if len(nodes) > MOST_SCANNED:
        fewest = np.argsort((lists.columns[nodes] >= 0).sum(1), kind="stable")[:MOST_SCANNED]
        nodes = nodes[np.sort(fewest)]
    scans.append(_scan(problem, nodes))
    for which, (columns, values) in zip((tested, nodes), scans, strict=True):
        lists.columns[which], lists.values[which] = columns, values
    return len(tested) + len(nodes)


def _scan(problem: SearchProblem, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact lists of some nodes, columns and values."""
    scan = Scan.start(problem, nodes, problem.count)
    for rows in problem.groups() if len(nodes) else ():
        scan.see(rows.start, problem.key.unit(rows)[0])
    return scan.columns.numpy(), scan.values.masked_fill(scan.columns < 0, 0).numpy()


def _suspects(lists: NeighbourLists, there: np.ndarray) -> np.ndarray:
    """Return the nodes whose row is not zero and whose list is at most half full."""
    half, parts = lists.columns.shape[1] // 2, []
    for begin in range(0, len(lists.columns), READ_LISTS):
        few = np.asarray(lists.columns[begin : begin + READ_LISTS, half] < 0)
        parts.append(begin + np.flatnonzero(few & there[begin : begin + READ_LISTS]))
        lists.drop()
    return np.concatenate(parts)
