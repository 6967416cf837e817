"""A bank's rows as one float32 array, whatever dtype it stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.solve.streaming import ROWS, scratch


def image_chunks(bank: Bank) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of images with about as many rows as a chunk of the streamed products, at least one image."""
    step = max(1, ROWS // bank.nodes_per_image)
    for start in range(0, bank.n_images, step):
        yield start, min(start + step, bank.n_images)


@contextmanager
def float32_rows(bank: Bank, work: Path) -> Iterator[np.ndarray]:
    """Lend X of the draft, or of the current generation where none was begun, as (nodes, channels) float32.

    Args:
        bank: a float32 bank lends its memory map; a bfloat16 bank a memory-mapped float32 copy.
        work: folder for that copy.
    """
    if bank.dtype == "float32":
        yield bank.draft() if bank.drafting else bank.view()
        return
    # A folder of its own: the borrower may take scratch files in `work`.
    with scratch(work / "float32", bank.shape, 1) as (wide,):
        for start, stop in image_chunks(bank):
            wide[start * bank.nodes_per_image : stop * bank.nodes_per_image] = bank.read(start, stop)
        yield wide
