"""Approximate eigenvectors from an earlier run, on this run's grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError
from spectral_graph.grid_map import grid_map
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.chebyshev import MEMORY_BYTES
from spectral_graph.solve.streaming import workspace
from spectral_graph.stages.context import Context, bank_of


@contextmanager
def warm_start(context: Context, table: ImageTable, kind: str, work: Path) -> Iterator[np.ndarray | None]:
    """Yield the eigenvectors (N, C) float32 that the run `--warm-start` has for this affinity; None without one.

    Of their rows those of the images of this process. A run on another grid is resampled (g of the paper, bilinear),
    image by image.

    Args:
        context: of this run.
        table: its images.
        kind: the affinity.
        work: folder for working space.

    Raises:
        ConfigError: the other run does not hold this affinity, or has other images.
        FormatError: its bank is damaged.
    """
    other = context.config.warm_start
    if other is None:
        yield None
        return
    if not Bank.exists(other / kind / "bank"):
        raise ConfigError(
            f"`warm_start={other}`: there are no eigenvectors of {kind} (no {kind}/bank); name a run directory whose "
            "stage solve is complete and that has this affinity, or leave the option out"
        )
    theirs = ImageTable.load(other / "images.json")
    if [image.id for image in theirs.images] != [image.id for image in table.images]:
        raise ConfigError(
            f"`warm_start={other}`: that run has {len(theirs.images)} images, this one {len(table.images)}, and they "
            "must be the same in the same order; name a run on the same images, or leave the option out"
        )
    bank = bank_of(other / kind / "bank", theirs, verify=False)  # its rows are checked as they are read
    images, nodes = context.comm.mine(len(table.images)), table.nodes_per_image
    shape = (len(images) * nodes, bank.channels)
    with workspace(context.comm.folder(work) / "warm", shape, 1, MEMORY_BYTES) as (start,):
        resample = None if theirs.grid == table.grid else grid_map(theirs.grid, table.grid)
        for place, image in enumerate(images):
            rows = bank.read(image, image + 1)
            start[place * nodes : (place + 1) * nodes] = rows if resample is None else resample @ rows
        yield start
