"""Arrays aligned to the lines of the processor's cache."""

from __future__ import annotations

import math

import numpy as np

LINE_BYTES = 64


def line_aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialised float32 array, C-contiguous, that begins at a cache line.

    NumPy does not align its arrays to cache lines: then a row of 32 columns lies in three lines instead of two, and a
    sparse product, which reads rows in any order, takes up to a third longer.
    """
    size = math.prod(shape)
    padded = np.empty(size + LINE_BYTES // 4, np.float32)
    start = -padded.ctypes.data % LINE_BYTES // 4
    return padded[start : start + size].reshape(shape)
