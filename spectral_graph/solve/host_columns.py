"""The solver's columns in the memory of this machine, or memory-mapped on its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spectral_graph.graph.operator import BlockOperator
from spectral_graph.solve.streaming import chunks, gram_matrices, random_rows, rotate_into, row_parts, workspace


class HostColumns:
    """Implements `Columns` with NumPy arrays.

    Args:
        operator: N x N.
    """

    def __init__(self, operator: BlockOperator) -> None:
        self.operator = operator

    def random(self, out: np.ndarray, seed: int, stream: int) -> None:
        """Fill `out` with random numbers."""
        random_rows(out, seed, stream, self.operator.rows.start)

    def put(self, part: np.ndarray, x: np.ndarray, row: int) -> None:
        """Write some rows of x."""
        x[row : row + len(part), : part.shape[1]] = part

    def save(self, x: np.ndarray, target: np.ndarray) -> None:
        """Copy x."""
        for part, into in row_parts([x], [target]):
            into[:] = part

    def as_result(self, x: np.ndarray, folder: Path, memory_bytes: int) -> np.ndarray:
        """Return x itself; its memory map outlives the name of its file."""
        return x

    def pack(self, x: np.ndarray, locked: int, into: np.ndarray) -> None:
        """Copy the last columns of x."""
        for part, target in row_parts([x], [into]):
            target[:] = part[:, locked:]

    def unpack(self, part: np.ndarray, x: np.ndarray, locked: int) -> None:
        """Write the last columns of x. The others are read and written as well, because rows are written whole."""
        for into, rows, _ in row_parts([x, part], [x]):
            into[:, locked:] = rows

    def grams(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return X^T X, X^T Y and Y^T Y."""
        return gram_matrices(x, y)

    def rotate(self, x: np.ndarray, u: np.ndarray, out: np.ndarray) -> None:
        """Write X U into `out`."""
        rotate_into(x, u, out)

    def squares(self, x: np.ndarray) -> np.ndarray:
        """Return the sums of squares of the columns."""
        sums = np.zeros(x.shape[1])
        for rows in chunks(len(x)):
            sums += np.einsum("nc,nc->c", x[rows], x[rows], dtype=np.float64)
        return sums

    def divide(self, x: np.ndarray, by: np.ndarray) -> None:
        """Divide the columns."""
        for rows in chunks(len(x)):
            x[rows] /= by


@contextmanager
def host_columns(
    operator: BlockOperator, width: int, work: Path, memory_bytes: int
) -> Iterator[tuple[HostColumns, list[np.ndarray]]]:
    """Yield three arrays of columns, in memory if they fit `memory_bytes`, else memory-mapped.

    Args:
        operator: N x N; what the columns leave of `memory_bytes` its blocks may take.
        width: columns of an array.
        work: folder for the memory-mapped files.
        memory_bytes: see above.
    """
    rows = len(operator.rows)
    operator.allow(memory_bytes - 3 * 4 * width * rows)
    with workspace(operator.comm.folder(work), (rows, width), 3, memory_bytes) as arrays:
        yield HostColumns(operator), arrays
