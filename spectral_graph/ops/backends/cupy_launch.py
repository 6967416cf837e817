"""The launches of one product: the host side of csrc/cuda/csr_spmm.cuh and segments.cuh in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spectral_graph.errors import GraphError
from spectral_graph.ops.backends.cupy_source import VECTORS, kernel_names

SEGMENT = 128
"""Entries and row ends that one group of threads works on."""
SHORT_JOIN = 32
"""The most segments of a row that one group joins."""
MOST_THREADS = 256
MOST_GRID = (2**31 - 1, 65535)
BYTES = {"float": 4, "double": 8}


class Addresses(NamedTuple):
    """Addresses of the arrays on the GPU; `first_row` (segments + 1,) int64 and `carry` (segments, C) are scratch."""

    indptr: int
    indices: int
    values: int
    x: int
    y: int
    first_row: int
    carry: int


class Launch(NamedTuple):
    """One kernel: its C++ name, the blocks by x and y, and its arguments; a block has MOST_THREADS threads."""

    kernel: str
    grid: tuple[int, int]
    arguments: tuple[np.generic, ...]


def segment_count(rows: int, entries: int) -> int:
    """Return the number of segments of a matrix."""
    return -(-(rows + entries) // SEGMENT)


def vector_width(channels: int, scalar: str, *addresses: int) -> int:
    """Return the most columns that a thread can load at once: rows must be aligned to the vector's size."""
    for vector in VECTORS[scalar][:-1]:
        if channels % vector == 0 and all(address % (vector * BYTES[scalar]) == 0 for address in addresses):
            return vector
    return 1


def _grid(x: int, y: int) -> tuple[int, int]:
    if x > MOST_GRID[0] or y > MOST_GRID[1]:
        raise GraphError(
            f"spectral_graph::csr_spmm: the work needs a grid of {x} x {y} blocks, CUDA has at most {MOST_GRID[0]} x "
            f"{MOST_GRID[1]}; pass fewer rows or columns at a time"
        )
    return x, y


def launches(rows: int, entries: int, channels: int, scalar: str, at: Addresses) -> Iterator[Launch]:
    """Yield the kernels of one product in their order; `scalar`: "float" or "double".

    Raises:
        GraphError: the grid exceeds CUDA's limits.
    """
    if rows == 0 or channels == 0:
        return
    vector = vector_width(channels, scalar, at.x, at.y)
    names, segments = kernel_names(scalar, vector), segment_count(rows, entries)
    vectors = channels // vector
    tiles = -(-vectors // MOST_THREADS)
    lanes = -(-vectors // tiles)
    groups = _grid(-(-segments * lanes // MOST_THREADS), tiles)
    sizes = tuple(np.int64(size) for size in (rows, entries, segments, channels))
    width = np.int32(lanes)
    first_row, indptr, carry, y = (np.uint64(place) for place in (at.first_row, at.indptr, at.carry, at.y))
    matrix = (indptr, np.uint64(at.indices), np.uint64(at.values))
    yield Launch(names["plan"], _grid(-(-(segments + 1) // MOST_THREADS), 1), (*sizes[:3], indptr, first_row))
    yield Launch(names["segments"], groups, (*sizes, width, first_row, *matrix, np.uint64(at.x), y, carry))
    join = (sizes[2], sizes[3], width, first_row, indptr, carry, y)
    if segments >= 2:
        yield Launch(names["join_short"], groups, join)
    if segments > SHORT_JOIN:
        yield Launch(names["join_long"], _grid(-(-segments // SHORT_JOIN), tiles), join)
