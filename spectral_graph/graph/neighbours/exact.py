"""Method `exact`: all products, block by block, and the lists merged; two blocks in memory at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from spectral_graph.errors import FormatError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.lists import read_part, write_parts
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists
from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.scratch import Checkpoint
from spectral_graph.ops import topc_affinity, topc_merge

BLOCK_ROWS = 1 << 14
"""Rows of a block, up to whole images."""
MERGED = "merged.lists"
"""The lists of the last checkpoint."""


def search_exact(problem: SearchProblem, checkpoint: Checkpoint) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search, or resume an interrupted search.

    A pair of blocks that was already merged may be merged again: a column that occurs twice is kept once.

    Returns:
        The lists and the facts.
    """
    start = time.perf_counter()
    blocks = list(problem.groups(BLOCK_ROWS))
    pairs = [(left, right) for left in range(len(blocks)) for right in range(left, len(blocks))]
    state = checkpoint.load(0)
    lists = new_lists(problem.folder, problem.nodes, problem.count)
    done = int(state["pairs"]) if state is not None and _load(problem, lists) else 0
    sides = (problem.query,) if problem.symmetric else (problem.query, problem.key)
    held: dict[tuple[str, int], torch.Tensor] = {}
    for number, pair in enumerate(pairs[done:], done):
        problem.report(number, len(pairs))
        for name, block in list(held):
            if block not in pair:
                del held[name, block]
        for side in sides:
            for block in set(pair):
                if (side.name, block) not in held:
                    held[side.name, block] = side.unit(blocks[block])[0]
        left, right = ([held[side.name, block] for side in (problem.query, problem.key)] for block in pair)
        if pair[0] == pair[1]:
            _merge_block(problem, lists, blocks[pair[0]], left)
        else:
            _merge_pair(problem, lists, (blocks[pair[0]], blocks[pair[1]]), left, right)
        if checkpoint.due():
            write_parts(problem.folder / MERGED, [(lists.columns, lists.values)])
            checkpoint.save({"pairs": number + 1})
    zero = sum(int((~problem.query.unit(part)[0].any(dim=1)).sum()) for part in problem.groups())
    problem.report(len(pairs), len(pairs))
    return lists, {"recall": 1.0, "zero_rows": zero, "seconds_searching": time.perf_counter() - start}


def _load(problem: SearchProblem, lists: NeighbourLists) -> bool:
    """Fill the lists with those of the last checkpoint; return whether these exist and are whole."""
    try:
        content = read_part(problem.folder / MERGED, 0).view(np.int32)
    except FormatError:
        return False
    if len(content) != 2 * lists.columns.size:
        return False
    columns, values = content.reshape(2, *lists.columns.shape)
    lists.columns[:], lists.values[:] = columns, values.view(np.float32)
    return True


def _best(problem: SearchProblem, sides: list[torch.Tensor], image_ptr: torch.Tensor) -> CsrRows:
    query, key = sides
    count, threshold = problem.count, problem.threshold
    return CsrRows.from_tensors(*topc_affinity(query, key, image_ptr, 0, count, threshold, symmetric=problem.symmetric))


def _merge_block(problem: SearchProblem, lists: NeighbourLists, rows: slice, sides: list[torch.Tensor]) -> None:
    """Merge the neighbours among the rows of one block; `sides` are its unit queries and keys."""
    ptr = problem.image_ptr
    inside = ptr[(ptr >= rows.start) & (ptr <= rows.stop)] - rows.start
    _merge_rows(lists, rows, _best(problem, sides, torch.from_numpy(inside)), rows.start)


def _merge_pair(
    problem: SearchProblem,
    lists: NeighbourLists,
    rows: tuple[slice, slice],
    left: list[torch.Tensor],
    right: list[torch.Tensor],
) -> None:
    """Merge the neighbours between the rows of two blocks; `left` and `right` are their unit queries and keys."""
    # Two blocks as two images: only the products between them are made.
    sides, size = [torch.cat(parts) for parts in zip(left, right, strict=True)], len(left[0])
    total = len(sides[0])
    found = _best(problem, sides, torch.tensor([0, size, total]))
    _merge_rows(lists, rows[0], found.part(0, size), rows[1].start - size)
    _merge_rows(lists, rows[1], found.part(size, total), rows[0].start)


def _merge_rows(lists: NeighbourLists, rows: slice, found: CsrRows, shift: int) -> None:
    """Merge candidates into the lists of some rows; `shift` is added to their columns."""
    shifted = CsrRows(found.indptr, found.indices + np.int32(shift), found.values)
    starts, places, weights = zip(lists.csr(rows.start, rows.stop).tensors(), shifted.tensors(), strict=True)
    indptr, indices, values = topc_merge(starts, places, weights, lists.columns.shape[1])
    row = torch.repeat_interleave(torch.arange(len(indptr) - 1), indptr.diff())
    place = torch.arange(len(indices)) - indptr[row]
    shape = (len(indptr) - 1, lists.columns.shape[1])
    cosines, columns = torch.full(shape, -torch.inf), torch.full(shape, -1, dtype=torch.int32)
    cosines[row, place] = values
    columns[row, place] = indices
    cosines, order = cosines.sort(dim=1, descending=True, stable=True)
    lists.columns[rows] = columns.gather(1, order).numpy()
    lists.values[rows] = cosines.masked_fill(cosines == -torch.inf, 0).numpy()
    lists.drop()
