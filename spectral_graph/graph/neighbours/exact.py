"""Method `exact`: all products, block against block, and the lists merged; two blocks in memory at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from spectral_graph.errors import FormatError
from spectral_graph.graph.checked_file import read_part, write_parts
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists
from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.graph.neighbours.progress import Checkpoint
from spectral_graph.graph.neighbours.table import unit_rows_of
from spectral_graph.ops import topc_affinity, topc_merge

BLOCK_ROWS = 1 << 14
"""Rows of a block, up to whole images."""
MERGED = "merged.lists"
"""The lists of the last checkpoint."""

Csr = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def search_exact(problem: SearchProblem, checkpoint: Checkpoint) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search, or go on with a search that was interrupted.

    A pair of blocks that was merged already may be merged again: a column that comes twice is kept once.

    Returns:
        The lists and the facts.
    """
    start = time.perf_counter()
    blocks = list(problem.groups(BLOCK_ROWS))
    pairs = [(left, right) for left in range(len(blocks)) for right in range(left, len(blocks))]
    state = checkpoint.load(0)
    lists = new_lists(problem.folder, problem.nodes, problem.count)
    done = int(state["pairs"]) if state is not None and _load(problem, lists) else 0
    sides = (problem.query,) if problem.key is problem.query else (problem.query, problem.key)
    held: dict[tuple[str, int], torch.Tensor] = {}
    for number, (left, right) in enumerate(pairs[done:], done):
        problem.report(number, len(pairs))
        for name, block in list(held):
            if block not in (left, right):
                del held[name, block]
        for side in sides:
            for block in {left, right}:
                if (side.name, block) not in held:
                    held[side.name, block] = _unit(problem, side, blocks[block])
        _merge_pair(problem, lists, blocks, held, left, right)
        if checkpoint.due():
            write_parts(problem.folder / MERGED, [(lists.columns, lists.values)])
            checkpoint.save({"pairs": number + 1})
    zero = sum(int((~_unit(problem, problem.query, part).any(dim=1)).sum()) for part in problem.groups())
    problem.report(len(pairs), len(pairs))
    return lists, {"recall": 1.0, "zero_rows": zero, "seconds_searching": time.perf_counter() - start}


def _load(problem: SearchProblem, lists: NeighbourLists) -> bool:
    """Fill the lists with those of the last checkpoint; tell whether they are there and whole."""
    try:
        content = read_part(problem.folder / MERGED, 0).view(np.int32)
    except FormatError:
        return False
    if len(content) != 2 * lists.columns.size:
        return False
    columns, values = content.reshape(2, *lists.columns.shape)
    lists.columns[:], lists.values[:] = columns, values.view(np.float32)
    return True


def _unit(problem: SearchProblem, side: Side, block: tuple[int, int]) -> torch.Tensor:
    raw = torch.from_numpy(side.rows.read(slice(*block)))
    return unit_rows_of(problem, side, raw, np.arange(*block), torch.zeros(raw.shape[1], 0))[0]


def _merge_pair(
    problem: SearchProblem,
    lists: NeighbourLists,
    blocks: list[tuple[int, int]],
    held: dict[tuple[str, int], torch.Tensor],
    left: int,
    right: int,
) -> None:
    names = problem.query.name, problem.key.name
    (begin, end), (low, high) = blocks[left], blocks[right]
    symmetric = problem.key is problem.query
    if left == right:
        inside = problem.image_ptr[(problem.image_ptr >= begin) & (problem.image_ptr <= end)] - begin
        parts = [held[name, left] for name in names]
        found = topc_affinity(
            parts[0], parts[1], torch.from_numpy(inside), 0, problem.count, problem.threshold, symmetric=symmetric
        )
        _merge_rows(lists, begin, end, (found[0], found[1] + begin, found[2]), problem.count)
        return
    # Two blocks as two images: only the products between them are made.
    parts = [torch.cat([held[name, left], held[name, right]]) for name in names]
    size = end - begin
    halves = torch.tensor([0, size, size + high - low])
    indptr, indices, values = topc_affinity(
        parts[0], parts[1], halves, 0, problem.count, problem.threshold, symmetric=symmetric
    )
    middle = int(indptr[size])
    upper = indptr[: size + 1], indices[:middle] - size + low, values[:middle]
    lower = indptr[size:] - middle, indices[middle:] + begin, values[middle:]
    _merge_rows(lists, begin, end, upper, problem.count)
    _merge_rows(lists, low, high, lower, problem.count)


def _merge_rows(lists: NeighbourLists, begin: int, end: int, found: Csr, count: int) -> None:
    known = [torch.from_numpy(part) for part in lists.csr(begin, end)]
    merged = topc_merge([known[0], found[0]], [known[1], found[1].int()], [known[2], found[2]], count)
    put_csr(lists, begin, *merged)


def put_csr(
    lists: NeighbourLists, begin: int, indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor
) -> None:
    """Write compressed rows, ascending by column and none longer than the lists, into the lists from `begin` on."""
    rows, count = len(indptr) - 1, lists.columns.shape[1]
    row = torch.repeat_interleave(torch.arange(rows), indptr.diff())
    place = torch.arange(len(indices)) - indptr[row]
    weights = torch.full((rows, count), -torch.inf)
    columns = torch.full((rows, count), -1, dtype=torch.int32)
    weights[row, place] = values
    columns[row, place] = indices
    weights, order = weights.sort(dim=1, descending=True, stable=True)
    lists.columns[begin : begin + rows] = columns.gather(1, order).numpy()
    lists.values[begin : begin + rows] = weights.masked_fill(weights == -torch.inf, 0).numpy()
    lists.drop()
