"""The keys that are compared with a query in all dimensions: the best of the cells it probes, by their projection."""

from __future__ import annotations

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import Cells
from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.table import Table
from spectral_graph.graph.neighbours.tune import Effort
from spectral_graph.ops import cell_topc

WIDER = 4
"""A query whose cells hold too few keys probes so many times as many."""
MOST_RANKED = 256
"""Up to so many cells the nearest are picked; a query that needs more probes all."""
MOST_PROBES = 1 << 22
"""Numbers of cells held in memory at a time when many are probed."""


def candidates_of(
    cells: Cells, queries: Table, keys: Table, effort: Effort, wanted: torch.Tensor, begin: int, end: int
) -> tuple[torch.Tensor, int]:
    """Return the candidates of the queries begin to end of their table.

    A query of which the probed cells hold fewer keys of other images than it is to have neighbours would lose
    neighbours silently, however good the recall is on average: it probes more cells until it has enough keys, or all.

    Args:
        cells: the cells.
        queries: the table of the queries.
        keys: the table of the keys.
        effort: how many cells a query probes at first, and how many candidates it keeps.
        wanted: (images,) int64, the candidates that a query of each image needs, from `wanted_keys`.
        begin: first query.
        end: end of the queries.

    Returns:
        (end - begin, effort.candidates) int32, rows of the table of the keys, -1 on free places; and how many queries
        probed more cells than the others.
    """
    projected, image = queries.projected[begin:end], queries.image[begin:end]
    own = queries.own_cells(begin, end)

    def best(which: slice | torch.Tensor, probes: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = cell_topc(
            projected[which].float(), image[which], keys.projected, keys.image, keys.cell_ptr, probes, effort.candidates
        )[0]
        return found

    probed, groups = effort.probed, effort.groups
    candidates = best(slice(None), cells.probes(projected, own, probed, groups))
    needed = wanted[image.long()]
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
            candidates[part] = best(part, probes)
        few = few[_fewer(candidates[few], needed[few])]
    return candidates, again


def wanted_keys(problem: SearchProblem, keys: Table) -> torch.Tensor:
    """Return (images,) int64, how many keys a query of each image needs: one a neighbour, or all of other images."""
    own = np.bincount(keys.image[: len(keys)].numpy(), minlength=len(problem.image_ptr) - 1)
    return torch.from_numpy(len(keys) - own).clamp_max(problem.count)


def _fewer(candidates: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the places of the rows (n, places) with fewer candidates than `wanted` (n,)."""
    return ((candidates >= 0).sum(1) < wanted).nonzero()[:, 0]
