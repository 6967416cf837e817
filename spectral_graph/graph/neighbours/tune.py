"""How many cells are probed, and how many candidates compared exactly: measured on queries with known neighbours."""

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
"""The part of the allowed loss that may come from cells not probed; the rest is left to the projection."""
FINE_STEPS = 64
"""Up to so many probed cells every number is tried, beyond it every eighth part more."""
TIED_QUERIES = 32
"""Queries whose candidates are compared in all dimensions at a time."""


@dataclass(frozen=True)
class Effort:
    """How hard the search tries.

    Attributes:
        groups: groups of cells whose centroids are compared with a query.
        probed: cells that a query probes.
        candidates: keys that are compared with a query in all dimensions.
    """

    groups: int
    probed: int
    candidates: int

    def record(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return asdict(self)


def choose_effort(problem: SearchProblem, truth: Truth, keys: Table, cells: Cells) -> Effort:
    """Return the least effort whose recall on the sample exceeds the one asked for by two standard errors.

    Args:
        problem: the search.
        truth: exact neighbours of the sample, whose coordinates are those in the directions of the cells.
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
    """Return where each wanted number stands in the list of its row; the length of the list if it is not in it."""
    same = lists[:, None, :] == wanted[:, :, None]
    return np.where(same.any(2), same.argmax(2), lists.shape[1])


def _found(
    problem: SearchProblem, truth: Truth, keys: Table, projected: torch.Tensor, probes: torch.Tensor
) -> np.ndarray:
    """Return (queries, candidates): how many neighbours are found if 1, 2, ... candidates are compared.

    A neighbour is known by its number, where others have the same cosine by that.
    """
    scan, most = truth.scan, _most_candidates(problem.count)
    found, _ = cell_topc(
        projected.float(), scan.image, keys.projected, keys.image, keys.cell_ptr, probes.contiguous(), most
    )
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
