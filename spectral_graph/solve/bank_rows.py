"""A bank's rows as one float32 array, whatever dtype it stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.solve.streaming import ROWS, scratch


def image_chunks(bank: Bank, images: range | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of images with about as many rows as a chunk of the streamed products, at least one image.

    Args:
        bank: whose images they are.
        images: which of them; all by default.
    """
    images = range(bank.n_images) if images is None else images
    step = max(1, ROWS // bank.nodes_per_image)
    for start in images[::step]:
        yield start, min(start + step, images.stop)


@contextmanager
def float32_rows(bank: Bank, work: Path, images: range | None = None) -> Iterator[np.ndarray]:
    """Yield X as (nodes, channels) float32: the uncommitted generation if one is open, else the current one.

    Args:
        bank: of a float32 bank its memory map is given, of a bfloat16 bank a memory-mapped float32 copy.
        work: folder for that copy.
        images: whose rows; those of all by default.
    """
    images = range(bank.n_images) if images is None else images
    nodes, first = bank.nodes_per_image, images.start
    if bank.dtype == "float32":
        x = bank.draft() if bank.drafting else bank.view()
        yield x[first * nodes : images.stop * nodes]
        return
    # A separate folder: the caller may use scratch files in `work`.
    with scratch(work / "float32", (len(images) * nodes, bank.channels), 1) as (wide,):
        for start, stop in image_chunks(bank, images):
            wide[(start - first) * nodes : (stop - first) * nodes] = bank.read(start, stop)
        yield wide
