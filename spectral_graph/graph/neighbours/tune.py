"""How many cells are probed, and how many candidates compared exactly: measured on queries with known neighbours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import Cells
from spectral_graph.graph.neighbours.sample import Truth
from spectral_graph.graph.neighbours.table import Table
from spectral_graph.ops import cell_topc, unit_project

CELL_LOSS = 0.85
"""The part of the allowed loss that may come from cells not probed; the rest is left to the projection."""


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


def choose_effort(truth: Truth, keys: Table, cells: Cells, count: int, recall: float) -> Effort:
    """Return the least effort whose recall on the sample exceeds the one asked for by two standard errors.

    Args:
        truth: exact neighbours of the sample.
        keys: the table of the keys.
        cells: the cells.
        count: neighbours of a node.
        recall: asked for.
    """
    there = truth.columns.numpy() >= 0
    if not there.any():
        return Effort(1, 1, count)
    cell = keys.cell_of(len(truth.images))[np.where(there, truth.columns.numpy(), 0)]
    projected = unit_project(truth.unit, torch.zeros(truth.unit.shape[1]), cells.basis)[2]
    groups, most = min(8, len(cells.groups)), min(64, len(cells))
    while True:
        probes = cells.nearest(projected, most, groups)
        rank = _rank(cell, probes.numpy(), there)
        enough = 1 - CELL_LOSS * (1 - recall)
        for probed in range(1, most + 1):
            if lower_recall(rank < probed, there) < enough and probed < most:
                continue
            candidates = _candidates(truth, keys, projected, probes[:, :probed], count, recall, there)
            if candidates is not None:
                return Effort(groups, probed, candidates)
        if groups == len(cells.groups) and most == len(cells):
            return Effort(groups, most, _most_candidates(count))
        groups, most = min(len(cells.groups), groups * 2), min(len(cells), most * 2)


def _most_candidates(count: int) -> int:
    return 8 * count + 16


def _rank(wanted: np.ndarray, lists: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return where each wanted number stands in the list of its row; the length of the list if it is not in it."""
    same = lists[:, None, :] == wanted[:, :, None]
    return np.where(same.any(2) & there, same.argmax(2), lists.shape[1])


def lower_recall(hits: np.ndarray, there: np.ndarray) -> float:
    """Return the part of the neighbours (queries, count) that are hit, less two standard errors over the queries."""
    queries = there.any(1)
    rates = (hits & there).sum(1)[queries] / there.sum(1)[queries]
    return float(rates.mean() - 2 * rates.std() / len(rates) ** 0.5)


def _candidates(
    truth: Truth,
    keys: Table,
    projected: torch.Tensor,
    probes: torch.Tensor,
    count: int,
    recall: float,
    there: np.ndarray,
) -> int | None:
    """Return the fewest candidates that suffice, or None."""
    most = _most_candidates(count)
    found, _ = cell_topc(projected, truth.image, keys.projected, keys.image, keys.cell_ptr, probes.contiguous(), most)
    nodes = torch.where(found >= 0, keys.node[found.clamp_min(0).long()], -1).numpy()
    rank = _rank(truth.columns.numpy(), nodes, there)
    for candidates in range(count, most + 1):
        if lower_recall(rank < candidates, there) >= recall:
            return candidates
    return None
