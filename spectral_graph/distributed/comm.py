"""The processes that work on one run, as one of them sees them; here the only one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Comm:
    """A single process: every sum is its own, and nothing is sent.

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
        """Tell whether this is the process that speaks, and writes what there is only one of."""
        return self.rank == 0

    def mine(self, count: int) -> range:
        """Return which of `count` things, in their order, this process owns."""
        return self.owned(count, self.rank)

    def owned(self, count: int, rank: int) -> range:
        """Return which of `count` things the process `rank` owns: contiguous ranges, as equal as can be."""
        return range(count * rank // self.size, count * (rank + 1) // self.size)

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank; all have one shape and dtype."""
        return [array]

    def sum(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of the float64 arrays of all processes, added in the order of the ranks.

        It has the same bits in every process and at every repetition, but others with another number of processes.
        """
        return array

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """Return the array of rank 0; that of the others gives shape and dtype."""
        return array

    def agree(self, flag: bool) -> bool:
        """Return the flag of rank 0, for decisions that clocks or files lead to and all must make alike."""
        return flag

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def exchange(self, out: Sequence[np.ndarray], into: Sequence[np.ndarray]) -> None:
        """Send out[rank] to every other process, and receive what it sends here into into[rank].

        Args:
            out: contiguous arrays, by rank; they may be empty.
            into: contiguous arrays of the shape and dtype that the other process sends.
        """

    def folder(self, path: Path) -> Path:
        """Return the folder of this process's own below `path`, for working space."""
        return path


ONE_PROCESS = Comm()
"""The process without others."""
