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

ROWS = 1 << 16


def chunks(rows: int) -> Iterator[slice]:
    """Yield slices of at most ROWS rows."""
    for start in range(0, rows, ROWS):
        yield slice(start, min(start + ROWS, rows))


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


def rotate_into(x: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:
    """Write X U into `out`: x (N, C) float32, u (C, K) float64, out (N, K) float32; out may be x if K = C."""
    matrix = torch.from_numpy(np.ascontiguousarray(u, np.float64))
    for rows in chunks(len(x)):
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


def random_rows(out: np.ndarray, seed: int, stream: int) -> None:
    """Fill `out` (N, C) with uniform odd numbers from -255 to 255 that depend on seed, stream and row chunk only.

    A subspace iteration needs no more of a start than independent columns; these cost a quarter of normal numbers.
    """
    for index, rows in enumerate(chunks(len(out))):
        generator = np.random.Generator(np.random.Philox(key=(seed, (stream << 40) + index)))
        part = out[rows]
        part[:] = np.frombuffer(generator.bytes(part.size), np.int8).reshape(part.shape)
        part *= 2
        part += 1


def normal_rows(out: np.ndarray, seed: int, stream: int) -> None:
    """Fill `out` (N, C) with N(0, 1) numbers that depend on seed, stream and row chunk only."""
    for index, rows in enumerate(chunks(len(out))):
        generator = np.random.Generator(np.random.Philox(key=(seed, (stream << 40) + index)))
        out[rows] = generator.standard_normal(out[rows].shape, np.float32)
