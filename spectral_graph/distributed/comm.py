"""The communicator of the processes that work on one run; here that of a single process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Comm:
    """A single process: every sum is its own array, and nothing is sent.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        sent: bytes that this process has sent to others.
    """

    rank = 0
    size = 1
    sent = 0

    @property
    def is_rank0(self) -> bool:
        """Whether this is rank 0, which reports progress and writes the files that exist once."""
        return self.rank == 0

    def mine(self, count: int) -> range:
        """Return the range of `count` items that belongs to this process."""
        return self.owned(count, self.rank)

    def owned(self, count: int, rank: int) -> range:
        """Return the range of `count` items that belongs to `rank`; the sizes of the ranges differ by at most 1."""
        return range(count * rank // self.size, count * (rank + 1) // self.size)

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank; all have one shape and dtype."""
        return [array]

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of the float64 arrays of all processes, added in the order of the ranks.

        It has the same bits in every process and in every repetition, but not for every number of processes.
        """
        return array

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """Return the array of rank 0; the arrays of the other processes give shape and dtype."""
        return array

    def agree(self, flag: bool) -> bool:
        """Return the flag of rank 0, so that all processes decide alike where clocks or files decide."""
        return flag

    def barrier(self) -> None:
        """Wait for all processes."""

    def exchange(self, out: Sequence[np.ndarray], into: Sequence[np.ndarray]) -> None:
        """Send out[rank] to every other process, and receive its array in into[rank] of its shape and dtype.

        All arrays are contiguous; they may be empty.
        """

    def folder(self, path: Path) -> Path:
        """Return the working folder of this process below `path`."""
        return path


ONE_PROCESS = Comm()
"""The communicator without other processes."""
