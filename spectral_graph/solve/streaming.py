"""Products with tall memory-mapped arrays, a fixed number of rows at a time.

The row chunks are fixed, and the operators below are bitwise independent of the number of threads, so the results are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from spectral_graph.io.aligned import line_aligned
from spectral_graph.io.files import allocate, remove, reporting_full_disk, require_space
from spectral_graph.io.paging import Pager
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.memory import left_bytes
from spectral_graph.ops import gram, rotate

ROWS = 1 << 16


def chunks(rows: int) -> Iterator[slice]:
    """Yield slices of at most ROWS rows."""
    for start in range(0, rows, ROWS):
        yield slice(start, min(start + ROWS, rows))


def row_parts(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray] = ()) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the rows of arrays, the same `chunks` of all, the next ones read ahead and the last ones written behind.

    Args:
        reads: arrays that are read.
        writes: arrays that are written in full, of as many rows; one may be in `reads`, too.

    Yields:
        A part of each array, of `reads` and then of `writes`, until the next is asked for.
    """
    others = [array for array in writes if all(array is not read for read in reads)]
    arrays = [*reads, *others]
    stores = [any(array is written for written in writes) for array in arrays]
    places = [next(at for at, array in enumerate(arrays) if array is asked) for asked in (*reads, *writes)]
    # Windows hold two chunks at times; the system can take pages of a memory map from one that is too wide for that.
    fits = 2 * ROWS * sum(array.strides[0] for array in arrays) <= left_bytes()
    with Pager(*arrays, when=fits) as pager:
        pager.begin([True] * len(reads) + [False] * len(others), stores)
        for rows in chunks(len(arrays[0])):
            pager.reach(rows.stop)
            yield tuple(pager.arrays[place][rows] for place in places)
            pager.finished(rows.stop)


def gram_matrix(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Return X^T X, or X^T Y, (C, C) float64, of (N, C) float32 arrays."""
    total = np.zeros((x.shape[1], x.shape[1] if y is None else y.shape[1]))
    for left, *right in row_parts([x] if y is None else [x, y]):
        total += gram(as_readonly_tensor(left), as_readonly_tensor(right[0]) if right else None).numpy()
    return total


def gram_matrices(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return X^T X, X^T Y and Y^T Y, (3, C, C) float64, of (N, C) float32 arrays, each read once."""
    total = np.zeros((3, x.shape[1], x.shape[1]))
    for parts in row_parts([x, y]):
        left, right = map(as_readonly_tensor, parts)
        total += np.stack([gram(left, None).numpy(), gram(left, right).numpy(), gram(right, None).numpy()])
    return total


def rotate_into(x: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:
    """Write X U into `out`: x (N, C) float32, u (C, K) float64, out (N, K) float32; out may be x if K = C."""
    matrix = torch.from_numpy(np.ascontiguousarray(u, np.float64))
    for part, turned in row_parts([x], [out]):
        turned[:] = rotate(as_readonly_tensor(part), matrix).numpy()


@contextmanager
def scratch(folder: Path, shape: tuple[int, int], count: int) -> Iterator[list[np.ndarray]]:
    """Yield `count` memory-mapped (N, C) float32 arrays in `folder`; their files are removed afterwards."""
    size = shape[0] * shape[1] * 4
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, size * count, "working space of the solver")
    files = [folder / f"scratch.{index}.f32" for index in range(count)]
    try:
        arrays: list[np.ndarray] = []
        for file in files:
            with reporting_full_disk(folder), file.open("wb") as handle:
                allocate(handle, size)
            arrays.append(np.memmap(file, np.float32, "r+", shape=shape))
        yield arrays
    finally:
        for file in files:
            remove(file)


@contextmanager
def workspace(folder: Path, shape: tuple[int, int], count: int, budget: int) -> Iterator[list[np.ndarray]]:
    """Yield `count` (N, C) float32 arrays: in memory where they fit `budget` bytes altogether, else as `scratch`."""
    if shape[0] * shape[1] * 4 * count <= budget:
        yield [line_aligned(shape) for _ in range(count)]
        return
    with scratch(folder, shape, count) as arrays:
        yield arrays


def random_rows(out: np.ndarray, seed: int, stream: int, first: int = 0) -> None:
    """Fill `out` (n, C) with uniform odd numbers from -255 to 255 that depend on seed, stream, C and row only.

    A subspace iteration needs no more of a start than independent columns; these cost a quarter of normal numbers.

    Args:
        out: the rows first to first + n of a taller array.
        seed: of the numbers.
        stream: number of the random stream.
        first: see `out`.
    """
    channels, end = out.shape[1], first + len(out)
    with Pager(out) as pager:
        pager.begin([False], [True])
        (into,) = pager.arrays
        for index in range(first // ROWS, -(-end // ROWS)):
            begin, stop = max(first, index * ROWS), min(end, (index + 1) * ROWS)
            skipped, count = (begin - index * ROWS) * channels, (stop - index * ROWS) * channels
            raw = np.random.Philox(key=(seed, (stream << 40) + index)).random_raw(-(-count // 8))
            part = into[begin - first : stop - first]
            part[:] = raw.astype("<u8").view(np.int8)[skipped:count].reshape(part.shape)
            part *= 2
            part += 1
            pager.finished(stop - first)


def normal_rows(out: np.ndarray, seed: int, stream: int) -> None:
    """Fill `out` (N, C) with N(0, 1) numbers that depend on seed, stream and row chunk only."""
    for index, rows in enumerate(chunks(len(out))):
        generator = np.random.Generator(np.random.Philox(key=(seed, (stream << 40) + index)))
        out[rows] = generator.standard_normal(out[rows].shape, np.float32)
