"""From the eigenvectors of a photo to its regions (section 4.1 of the paper) and masks; nothing here knows of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from spectral_graph.errors import ConfigError
from spectral_graph.grid_map import Grid
from spectral_graph.node_rows import ArrayRows
from spectral_graph.per_image.eigen import Solution
from spectral_graph.per_image.masks import find_masks
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.segment import assign, fit_kmeans


@dataclass(frozen=True, eq=False)
class Regions:
    """A photo's clusters.

    Attributes:
        labels: (N,) int64, 0..k - 1.
        k: number of clusters.
        silhouettes: K -> mean silhouette by scikit-learn, for every K of two or more clusters.
        finest: (N,) int64, the labels of the largest K.
    """

    labels: np.ndarray
    k: int
    silhouettes: dict[int, float]
    finest: np.ndarray


@dataclass(frozen=True, eq=False)
class Analysis:
    """Eigenvectors, regions and masks of one photo.

    Attributes:
        grid: (h, w) in nodes.
        solution: eigenvectors on the grid, row by row.
        regions: the clusters.
        masks: (M, h, w) bool, the instance-like masks, best first.
        mask_scores: (M,) float64, their binary silhouettes.
    """

    grid: Grid
    solution: Solution
    regions: Regions
    masks: np.ndarray
    mask_scores: np.ndarray


def analyse(solution: Solution, grid: Grid, config: ImageConfig) -> Analysis:
    """Find regions and masks.

    Raises:
        ConfigError: no number of clusters has an eigengap.
    """
    rows = cluster_rows(solution, config.eigenvalue_power)
    distances = cdist(rows, rows)
    regions = find_regions(rows, distances, solution.values, config)
    return Analysis(grid, solution, regions, *find_masks(regions.finest.reshape(grid), rows, distances, config))


def cluster_rows(solution: Solution, power: float) -> np.ndarray:
    """Return the rows for K-means, (N, C): each eigenvector times its eigenvalue (0 if negative) to a power."""
    return solution.vectors * np.maximum(solution.values, 0.0) ** power


def find_regions(rows: np.ndarray, distances: np.ndarray, values: np.ndarray, config: ImageConfig) -> Regions:
    """Cluster the nodes of a photo with each K, and choose one by its mean silhouette (the paper) or its eigengap.

    A K above the number of distinct rows is left out: a photo of one colour becomes one region.

    Args:
        rows: (N, C).
        distances: (N, N) float64, Euclidean, between the rows.
        values: (C,) eigenvalues, descending, for the eigengap.
        config: `clusters`, `choose`, `seed` and `kmeans_init`.
    """
    from sklearn.metrics import silhouette_score

    source = ArrayRows(rows[None].astype(np.float32))
    found: dict[int, np.ndarray] = {}
    scores: dict[int, float] = {}
    for k in config.candidates:
        try:
            model = fit_kmeans(source, k, config.seed, config.kmeans_init, max(len(rows), k))
        except ConfigError:
            # Too few distinct rows for this K, hence for every larger one.
            break
        ((_, _, labels),) = assign(source, model)
        clusters = len(np.unique(labels))
        if clusters > 1:
            found[k] = labels[0].astype(np.int64)
            # scikit-learn refuses clusters of one point each; the silhouette of such a point is 0.
            every_one = clusters == len(rows)
            scores[k] = 0.0 if every_one else float(silhouette_score(distances, found[k], metric="precomputed"))
    if not scores:
        nothing = np.zeros(len(rows), np.int64)
        return Regions(nothing, 1, {}, nothing)
    by_gap = config.choose == "eigengap"
    k = eigengap(values, list(scores)) if by_gap else max(scores, key=lambda k: (scores[k], -k))
    return Regions(found[k], k, scores, found[max(scores)])


def eigengap(values: np.ndarray, candidates: Sequence[int]) -> int:
    """Return the K with the largest gap between the K-th and the next eigenvalue, the smallest of equals.

    Args:
        values: (C,) descending.
        candidates: numbers of clusters; those of C or more have no gap and are left out.

    Raises:
        ConfigError: no candidate is below C.
    """
    known = [k for k in candidates if k < len(values)]
    if not known:
        raise ConfigError(
            f"`choose=eigengap` with {len(values)} eigenvectors can choose K below {len(values)} only; "
            "raise `channels` or lower `clusters`"
        )
    return max(known, key=lambda k: (values[k - 1] - values[k], -k))
