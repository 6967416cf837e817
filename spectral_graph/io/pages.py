"""Memory-mapped pages that do not count against the memory of the process for longer than they are used."""

from __future__ import annotations

import mmap

import numpy as np


def drop_pages(*arrays: np.ndarray) -> None:
    """Release the mapped pages of memory maps; what was written stays in the file, and a later read maps it again.

    Maps in copy-on-write mode are left alone, because their pages hold the only copy.
    """
    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and getattr(array, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
