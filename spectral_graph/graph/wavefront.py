"""The order in which consecutive products visit the blocks of a matrix, so that few blocks and rows are in use.

Product k writes the array that product k + 1 reads and product k + 2 overwrites (a recurrence of three terms with two
arrays). Where blocks share nodes with few others, product k + 1 can follow a few blocks behind product k, and a block
and its rows, once in memory, are used for all products: a wavefront. Source: J. Demmel, M. Hoemmen, M. Mohiyuddin,
K. Yelick, "Avoiding communication in sparse matrix computations", IPDPS 2008, https://doi.org/10.1109/IPDPS.2008.4536305.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RUN = 2
"""Blocks that a product visits in sequence if possible: rows that two of them read are in the cache the second time."""


@dataclass(frozen=True)
class Extent:
    """Position and size of a block.

    Attributes:
        rows: first row and one past the last; all rows between are in the block.
        columns: first column that it reads and one past the last.
        nbytes: bytes of the block.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    nbytes: int


@dataclass(frozen=True)
class Wavefront:
    """An order of visits.

    Attributes:
        depth: number of products that run together.
        local: whether the blocks and rows in use at a time take no more than the memory allowed.
        visits: (product, block) of these products, in order.
        needs: for each block, rows before this one are in use from the first visit to it on; zeros if not `local`.
        free: for each block, rows before this one are not in use after the last visit to it; zeros if not `local`.
    """

    depth: int
    local: bool
    visits: list[tuple[int, int]]
    needs: list[int]
    free: list[int]


def plan_wavefront(extents: Sequence[Extent | None], products: int, row_bytes: int, memory: int) -> Wavefront:
    """Return the order in which as many products as possible run together.

    Each product visits the blocks in their order. It visits a block after the previous product has visited all blocks
    whose rows it reads, and all blocks that read its rows.

    Args:
        extents: of the blocks in their order; None for one that is not a range of rows.
        products: number of consecutive products.
        row_bytes: bytes of a row of both arrays.
        memory: budget in bytes for blocks and rows in use. If two products do not fit, each runs alone.
    """
    known = [extent for extent in extents if extent is not None]
    nowhere = [0] * len(extents)
    plain = Wavefront(1, False, [(0, block) for block in range(len(extents))], nowhere, nowhere)
    starts = np.array([extent.rows[0] for extent in known])
    ends = np.array([extent.rows[1] for extent in known])
    if len(known) < len(extents) or (starts[1:] != ends[:-1]).any():
        return plain
    first, wait = _neighbours(known, starts)
    size = np.concatenate([[0], np.cumsum([extent.nbytes for extent in known])])
    rows = np.append(starts, ends[-1]) * row_bytes

    def fits(depth: int) -> bool:
        return _peak(_visits(wait, depth), depth, first, wait, size, rows) <= memory

    if not fits(1):
        return plain
    low, high = 1, products
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    depth = -(-products // -(-products // low))  # the same number of sweeps, all about as deep
    used = [part.rows + part.columns if part.columns[1] > part.columns[0] else part.rows for part in known]
    needs = np.maximum.accumulate([max(rows) for rows in used])
    later = np.minimum.accumulate([min(rows) for rows in used[::-1]])[::-1]
    free = np.append(later[1:], ends[-1])
    return Wavefront(depth, True, _visits(wait, depth), needs.tolist(), free.tolist())


def _neighbours(extents: Sequence[Extent], starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each block the first of all that share nodes with it, and one past the last."""
    count = len(extents)
    first, past = np.arange(count), np.arange(count) + 1
    for block, extent in enumerate(extents):
        if extent.columns[0] == extent.columns[1]:
            continue
        begin = int(np.searchsorted(starts, extent.columns[0], "right")) - 1
        end = int(np.searchsorted(starts, extent.columns[1], "left"))
        first[block], past[block] = min(first[block], begin), max(past[block], end)
        first[begin:end], past[begin:end] = np.minimum(first[begin:end], block), np.maximum(past[begin:end], block + 1)
    return first, past


def _visits(wait: np.ndarray, depth: int) -> list[tuple[int, int]]:
    """Return the order that begins a later product as soon as it can make a run of blocks."""
    count, done = len(wait), [0] * depth
    visits: list[tuple[int, int]] = []
    limits = np.maximum.accumulate(wait).tolist()
    while done[0] < count:
        product = 0
        while True:
            begin = done[product] if product < depth else count
            end = min(begin + RUN, count)
            if begin < count and (product == 0 or done[product - 1] >= limits[end - 1]):
                visits += [(product, block) for block in range(begin, end)]
                done[product] = end
                product += 1
            elif product > 1:
                product -= 1
            else:
                break
    return visits


def _peak(
    visits: Sequence[tuple[int, int]],
    depth: int,
    first: np.ndarray,
    past: np.ndarray,
    size: np.ndarray,
    row_bytes: np.ndarray,
) -> int:
    """Return the most bytes in use: blocks begun and not finished, and the rows that they share nodes with."""
    finished, most = 0, 0
    for product, block in visits:
        if product == 0:
            rows = row_bytes[past[block]] - row_bytes[first[finished]]
            most = max(most, int(size[block + 1] - size[finished] + rows))
        if product == depth - 1:
            finished = min(block + 1, len(first) - 1)
    return most
