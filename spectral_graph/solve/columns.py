"""What the solver asks of the place where its columns live: memory and disk of this machine, or a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from spectral_graph.solve.recurrence import Operator

Array = Any
"""(n, K) float32 as the place has it: a NumPy array, or a tensor on the device. Of N rows those of this process."""


class Columns(Protocol):
    """Arrays of columns in one place, and what is done with them there."""

    @property
    def operator(self) -> Operator:
        """The operator N x N; its products take arrays of this place."""

    def random(self, out: Array, seed: int, stream: int) -> None:
        """Fill `out`, an array or its last columns, with the numbers of `random_rows`."""

    def put(self, part: np.ndarray, x: Array, row: int) -> None:
        """Write rows (m, C) float32 into the first C columns of x, from `row` on."""

    def save(self, x: Array, target: np.ndarray) -> None:
        """Write x into an array of this machine, which may be memory-mapped."""

    def as_result(self, x: Array, folder: Path, memory_bytes: int) -> np.ndarray:
        """Return x as an array of this machine: up to `memory_bytes` in memory, beyond it in a file of `folder`."""

    def pack(self, x: Array, locked: int, into: Array) -> None:
        """Write the columns of x from `locked` on into an array that has no others."""

    def unpack(self, part: Array, x: Array, locked: int) -> None:
        """Write that array back, see `pack`."""

    def grams(self, x: Array, y: Array) -> np.ndarray:
        """Return X^T X, X^T Y and Y^T Y, (3, K, K) float64."""

    def rotate(self, x: Array, u: np.ndarray, out: Array) -> None:
        """Write X U into `out`, which is not x: u (K, K) float64."""

    def squares(self, x: Array) -> np.ndarray:
        """Return the sums of squares (C,) float64 of the columns of x, exact where they are whole numbers."""

    def divide(self, x: Array, by: np.ndarray) -> None:
        """Divide the columns of x by numbers (C,) float32."""
