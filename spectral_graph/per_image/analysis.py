"""What is found in one photo, from its operator to its masks; nothing here knows of files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_graph.grid_map import Grid
from spectral_graph.per_image.clusters import Regions, find_regions, pairwise
from spectral_graph.per_image.eigen import Solution
from spectral_graph.per_image.masks import Masks, find_masks
from spectral_graph.per_image.options import ImageConfig


@dataclass(frozen=True, eq=False)
class Analysis:
    """All that is found in one photo.

    Attributes:
        grid: (h, w) in nodes.
        solution: eigenvectors on the grid, row by row.
        regions: the clusters.
        masks: the instance-like masks.
    """

    grid: Grid
    solution: Solution
    regions: Regions
    masks: Masks

    @property
    def value(self) -> float:
        """Value of Eqn. 3, divided by the number of channels."""
        return float(self.solution.values.mean())


def cluster_rows(solution: Solution, power: float) -> np.ndarray:
    """Return what K-means sees, (N, C): each eigenvector times its eigenvalue (0 if negative) to a power."""
    return solution.vectors * np.maximum(solution.values, 0.0) ** power


def analyse(solution: Solution, grid: Grid, config: ImageConfig) -> Analysis:
    """Find regions and masks.

    Args:
        solution: of the photo.
        grid: its grid.
        config: the options.

    Raises:
        ConfigError: the eigengap cannot tell any of the numbers of clusters.
    """
    rows = cluster_rows(solution, config.eigenvalue_power)
    distances = pairwise(rows)
    regions = find_regions(
        rows,
        distances,
        solution.values,
        config.candidates,
        config.choose,
        seed=config.seed,
        n_init=config.kmeans_init,
    )
    finest = regions.labels if regions.finest is None else regions.finest
    masks = find_masks(
        finest.reshape(grid), rows, distances, iou=config.mask_iou, area=config.area, most=config.max_masks
    )
    return Analysis(grid, solution, regions, masks)
