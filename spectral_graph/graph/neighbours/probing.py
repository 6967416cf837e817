"""Which keys are compared with a query in all dimensions: the best by projection of the cells that it probes.

The effort, how many cells are probed and how many of their keys are compared, is chosen on queries whose neighbours are
known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import Cells
from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.recall import Truth
from spectral_graph.graph.neighbours.table import Table
from spectral_graph.ops import cell_topc, cosine_topc

CELL_LOSS = 0.85
"""Share of the allowed loss of recall that cells not probed may cause; the rest is left to the projection."""
FINE_STEPS = 64
"""Up to this number of probed cells every number is tried, above it in steps of an eighth."""
TIED_QUERIES = 32
"""Queries whose candidates are compared in all dimensions at a time."""
WIDER = 4
"""Factor by which a query whose cells hold too few keys increases the number of cells."""
MOST_RANKED = 256
"""Up to this number of cells the nearest are selected; a query that needs more probes all."""
MOST_PROBES = 1 << 22
"""Cell numbers held in memory at a time when many cells are probed."""


@dataclass(frozen=True)
class Effort:
    """How much the search computes for a query.

    Attributes:
        groups: groups of cells whose centroids are compared with it.
        probed: cells that it probes.
        candidates: keys that are compared with it in all dimensions.
    """

    groups: int
    probed: int
    candidates: int

    def record(self) -> dict[str, Any]:
        """Return the numbers by name, for JSON."""
        return asdict(self)


class Candidates:
    """Finds the keys that are compared with the queries in all dimensions.

    Args:
        problem: the search.
        cells: the cells.
        queries: the table of the queries.
        keys: the table of the keys.
        effort: cells that a query probes at first, and candidates that it keeps.
    """

    def __init__(self, problem: SearchProblem, cells: Cells, queries: Table, keys: Table, effort: Effort) -> None:
        self._cells, self._queries, self._keys, self._effort = cells, queries, keys, effort
        own = np.bincount(keys.image[: len(keys)].numpy(), minlength=len(problem.image_ptr) - 1)
        # Keys that a query of each image needs: one a neighbour, or all of other images.
        self._wanted = torch.from_numpy(len(keys) - own).clamp_max(problem.count)

    def of(self, begin: int, end: int) -> tuple[torch.Tensor, int]:
        """Return the candidates of the queries begin to end of their table.

        A query whose probed cells hold fewer keys of other images than it needs would silently lose neighbours, however
        good the mean recall is: it probes more cells until it has enough keys, or all cells.

        Returns:
            (end - begin, effort.candidates) int32, rows of the table of the keys, -1 on free places; and the number of
            queries that probed more cells than the others.
        """
        cells, queries = self._cells, self._queries
        projected, own = queries.projected[begin:end], queries.own_cells(begin, end)
        image = queries.image[begin:end]
        probed, groups = self._effort.probed, self._effort.groups
        candidates = self._best(projected, image, cells.probes(projected, own, probed, groups))
        needed = self._wanted[image.long()]
        few = _fewer(candidates, needed)
        again = len(few)
        while len(few) and probed < len(cells):
            probed, groups = probed * WIDER, min(groups * WIDER, len(cells.groups))
            if probed > MOST_RANKED:
                probed = len(cells)
            for part in few.split(max(1, MOST_PROBES // probed)):
                if probed >= len(cells):
                    probes = torch.arange(len(cells), dtype=torch.int32).expand(len(part), -1)
                else:
                    probes = cells.probes(projected[part], own[part], probed, groups)
                candidates[part] = self._best(projected[part], image[part], probes)
            few = few[_fewer(candidates[few], needed[few])]
        return candidates, again

    def _best(self, projected: torch.Tensor, image: torch.Tensor, probes: torch.Tensor) -> torch.Tensor:
        return _best_keys(self._keys, projected, image, probes, self._effort.candidates)


def _best_keys(
    keys: Table, projected: torch.Tensor, image: torch.Tensor, probes: torch.Tensor, count: int
) -> torch.Tensor:
    """Return the best keys by projection of the cells probed (n, count) int32, rows of the table, -1 on free places."""
    found: torch.Tensor
    found, _ = cell_topc(projected.float(), image, keys.projected, keys.image, keys.cell_ptr, probes, count)
    return found


def _fewer(candidates: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the places of the rows (n, places) with fewer candidates than `wanted` (n,)."""
    return ((candidates >= 0).sum(1) < wanted).nonzero()[:, 0]


def choose_effort(problem: SearchProblem, truth: Truth, keys: Table, cells: Cells) -> Effort:
    """Return the least effort whose recall on the sample exceeds the requested one by two standard errors.

    Args:
        problem: the search.
        truth: exact neighbours of the sample, with coordinates in the basis of the cells.
        keys: the table of the keys.
        cells: the cells.
    """
    if not truth.known.any():
        return Effort(1, 1, problem.count)
    known_cells = keys.cell_of(problem.nodes)[np.maximum(truth.columns, 0)]
    projected = truth.scan.projected.half()
    own = cells.place(projected)
    enough = 1 - CELL_LOSS * (1 - problem.recall)
    groups, most = min(8, len(cells.groups)), min(FINE_STEPS, len(cells))
    while True:
        probes = cells.probes(projected, own, most, groups)
        rank = np.where(truth.columns >= 0, _rank(known_cells, probes.numpy()), most)
        for probed in _steps(most):
            hits, found = (rank < probed).sum(1), None
            if truth.tied.any() and truth.lower_recall(hits) < enough:
                found = _found(problem, truth, keys, projected, probes[:, :probed])
                hits = np.maximum(hits, found[:, -1])
            if truth.lower_recall(hits) < enough and probed < most:
                continue
            if found is None:
                found = _found(problem, truth, keys, projected, probes[:, :probed])
            for candidates in range(problem.count, found.shape[1] + 1):
                if truth.lower_recall(found[:, candidates - 1]) >= problem.recall:
                    return Effort(groups, probed, candidates)
        if groups == len(cells.groups) and most == len(cells):
            return Effort(groups, most, _most_candidates(problem.count))
        groups, most = min(len(cells.groups), groups * 2), min(len(cells), most * 2)


def _most_candidates(count: int) -> int:
    return 8 * count + 16


def _steps(most: int) -> Iterator[int]:
    """Yield the numbers of cells to try, ascending, the last one `most`."""
    probed = 1
    while probed < most:
        yield probed
        probed += 1 if probed < FINE_STEPS else probed // 8
    yield most


def _rank(wanted: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Return the position of each wanted number in the list of its row; the length of the list if it is absent."""
    same = lists[:, None, :] == wanted[:, :, None]
    return np.where(same.any(2), same.argmax(2), lists.shape[1])


def _found(
    problem: SearchProblem, truth: Truth, keys: Table, projected: torch.Tensor, probes: torch.Tensor
) -> np.ndarray:
    """Return (queries, candidates): the number of neighbours found if 1, 2, ... candidates are compared.

    A neighbour is recognised by its number, or by its cosine where others have the same.
    """
    scan, most = truth.scan, _most_candidates(problem.count)
    found = _best_keys(keys, projected, scan.image, probes.contiguous(), most)
    nodes = torch.where(found >= 0, keys.node[found.clamp_min(0).long()], -1).numpy()
    good = (truth.columns[:, None, :] == nodes[:, :, None]).any(2) & (nodes >= 0)
    tied = np.flatnonzero(truth.tied)
    for begin in range(0, len(tied), TIED_QUERIES):
        part = tied[begin : begin + TIED_QUERIES]
        unit = scan.unit[part].repeat_interleave(most, 0)
        _, values = cosine_topc(
            unit, keys.rows, problem.key.mean, keys.inverse, keys.node, found[part].reshape(-1, 1), 1, problem.threshold
        )
        cosines = values.reshape(len(part), most).numpy()
        good[part] = (cosines > 0) & (cosines >= truth.least[part][:, None])
    return np.minimum(good.cumsum(1), truth.known[:, None])
