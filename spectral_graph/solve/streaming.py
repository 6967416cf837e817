"""Products with tall memory-mapped arrays, a fixed number of rows at a time.

The row chunks are fixed, and the operators below are bitwise independent of the number of threads, so the results are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from spectral_graph.bank import allocate
from spectral_graph.files import disk_full_in_words, remove, require_space
from spectral_graph.ops import gram, rotate
from spectral_graph.solve.paging import Pager

ROWS = 1 << 16


def chunks(rows: int) -> Iterator[slice]:
    """Yield slices of at most ROWS rows."""
    for start in range(0, rows, ROWS):
        yield slice(start, min(start + ROWS, rows))


def paged(*arrays: np.ndarray) -> Iterator[slice]:
    """Yield `chunks` of arrays of the same length, the next one read ahead and the last one written behind."""
    with Pager(*arrays) as pager:
        for rows in chunks(len(arrays[0])):
            pager.ahead(min(2 * rows.stop - rows.start, len(arrays[0])))
            yield rows
            pager.finished(rows.start, rows.stop)


def borrow(part: np.ndarray) -> torch.Tensor:
    """Return a contiguous tensor with the content of `part`, over its memory where that is contiguous; only to read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(part))


def gram_matrix(x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Return X^T X, or X^T Y, (C, C) float64, of (N, C) float32 arrays."""
    total = np.zeros((x.shape[1], x.shape[1] if y is None else y.shape[1]))
    for rows in chunks(len(x)):
        total += gram(borrow(x[rows]), None if y is None else borrow(y[rows])).numpy()
    return total


def gram_matrices(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return X^T X, X^T Y and Y^T Y, (3, C, C) float64, of (N, C) float32 arrays, each read once."""
    total = np.zeros((3, x.shape[1], x.shape[1]))
    for rows in paged(x, y):
        left, right = borrow(x[rows]), borrow(y[rows])
        total += np.stack([gram(left, None).numpy(), gram(left, right).numpy(), gram(right, None).numpy()])
    return total


def rotate_into(x: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:
    """Write X U into `out`: x (N, C) float32, u (C, K) float64, out (N, K) float32; out may be x if K = C."""
    matrix = torch.from_numpy(np.ascontiguousarray(u, np.float64))
    for rows in paged(x, out):
        out[rows] = rotate(borrow(x[rows]), matrix).numpy()


@contextmanager
def scratch(folder: Path, shape: tuple[int, int], count: int) -> Iterator[list[np.ndarray]]:
    """Lend `count` memory-mapped (N, C) float32 arrays in `folder`; their files are removed afterwards."""
    size = shape[0] * shape[1] * 4
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, size * count, "working space of the solver")
    files = [folder / f"scratch.{index}.f32" for index in range(count)]
    try:
        arrays: list[np.ndarray] = []
        for file in files:
            with disk_full_in_words(folder), file.open("wb") as handle:
                allocate(handle, size)
            arrays.append(np.memmap(file, np.float32, "r+", shape=shape))
        yield arrays
    finally:
        for file in files:
            remove(file)


@contextmanager
def workspace(folder: Path, shape: tuple[int, int], count: int, budget: int) -> Iterator[list[np.ndarray]]:
    """Lend `count` (N, C) float32 arrays: in memory where they fit `budget` bytes altogether, else as `scratch`."""
    if shape[0] * shape[1] * 4 * count <= budget:
        yield [np.empty(shape, np.float32) for _ in range(count)]
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
        for index in range(first // ROWS, -(-end // ROWS)):
            generator = np.random.Generator(np.random.Philox(key=(seed, (stream << 40) + index)))
            begin, stop = max(first, index * ROWS), min(end, (index + 1) * ROWS)
            raw = generator.bytes((stop - index * ROWS) * channels)
            part = out[begin - first : stop - first]
            part[:] = np.frombuffer(raw, np.int8)[(begin - index * ROWS) * channels :].reshape(part.shape)
            part *= 2
            part += 1
            pager.finished(begin - first, stop - first)


def normal_rows(out: np.ndarray, seed: int, stream: int) -> None:
    """Fill `out` (N, C) with N(0, 1) numbers that depend on seed, stream and row chunk only."""
    for index, rows in enumerate(chunks(len(out))):
        generator = np.random.Generator(np.random.Philox(key=(seed, (stream << 40) + index)))
        out[rows] = generator.standard_normal(out[rows].shape, np.float32)
