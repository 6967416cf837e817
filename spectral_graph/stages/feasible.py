"""Refuses, before the extraction, requests that later stages could not meet with this many images and nodes."""

from __future__ import annotations

import numpy as np

from spectral_graph.errors import ConfigError
from spectral_graph.graph.batches import plan_batches
from spectral_graph.graph.selection import Selection
from spectral_graph.grid_map import Grid
from spectral_graph.stages.context import Context
from spectral_graph.stages.label_checks import cluster_count


def require_feasible(context: Context, grid: Grid) -> None:
    """Check neighbours, eigenvectors and clusters against the nodes of the data set.

    Images that turn out to be unreadable make fewer nodes; the later stages check again.

    Args:
        context: of the run; all its images are counted.
        grid: (h, w) nodes of an image.

    Raises:
        GraphError: more neighbours are asked for than there are nodes.
        ConfigError: more eigenvectors or clusters are asked for than there are nodes.
    """
    config, images, nodes = context.config, len(context.dataset.records), grid[0] * grid[1]
    members, cure = images, ""
    if config.scope == "batch":
        members = min(map(len, plan_batches(images, config.batch, config.rounds, config.seed)))
        cure = " or raise `batch`"
    Selection(config.c_intra, config.c_inter).require_room(np.full(members, nodes), cure)
    for option, count in (("channels", config.channels), ("clusters", cluster_count(config, context.dataset))):
        if count > images * nodes:
            raise ConfigError(
                f"`{option}={count}`: the {images} images have only {images * nodes} nodes ({grid[0]} x {grid[1]} "
                f"each); lower `{option}`, or raise `size`"
            )
