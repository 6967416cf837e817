"""Signs of eigenvectors, which are arbitrary: the entry of largest magnitude becomes positive."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spectral_graph.distributed.comm import Comm


def largest_entries(parts: Iterable[np.ndarray], best: np.ndarray) -> np.ndarray:
    """Update `best` (C,), the entry of largest magnitude of each column so far, the first among equals.

    Args:
        parts: consecutive rows (n, C) of the columns.
        best: changed in place, and returned; zeros at first.
    """
    for part in parts:
        entry = part[np.abs(part).argmax(axis=0), np.arange(part.shape[1])]
        np.copyto(best, entry, where=np.abs(entry) > np.abs(best))
    return best


def column_signs(best: np.ndarray, comm: Comm) -> np.ndarray:
    """Return (C,) 1 or -1: the sign of each column's entry of largest magnitude.

    Args:
        best: of the rows that this process holds, from `largest_entries`.
        comm: the processes that hold the others.
    """
    mine, *others = comm.gather(best)
    return np.where(largest_entries((entry[None] for entry in others), mine.copy()) < 0, -1.0, 1.0)
