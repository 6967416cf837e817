"""Arrays whose rows begin where a line of the processor's cache does."""

from __future__ import annotations

import math

import numpy as np

LINE_BYTES = 64


def line_aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return an uninitialised float32 array, C-contiguous, that begins with a line of the cache.

    NumPy's own begin anywhere between two lines: then a row of 32 columns lies in three lines instead of two, and a
    sparse product, which reads rows in any order, takes up to a third longer.
    """
    size = math.prod(shape)
    room = np.empty(size + LINE_BYTES // 4, np.float32)
    skipped = -room.ctypes.data % LINE_BYTES // 4
    return room[skipped : skipped + size].reshape(shape)
