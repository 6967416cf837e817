"""Silhouettes from one matrix of distances: how well a point lies in its cluster (P. J. Rousseeuw, 1987).

s = (b - a) / max(a, b), with a the mean distance to the other points of its cluster and b the smallest mean distance to
the points of another cluster; 0 for a point alone in its cluster.
"""

from __future__ import annotations

import numpy as np

from spectral_graph.errors import DataError


def silhouettes(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the silhouette of each point.

    Args:
        distances: (N, N) float64, symmetric.
        labels: (N,) integers of at least 0.

    Returns:
        (N,) float64 in [-1, 1].

    Raises:
        DataError: there are fewer than two clusters.
    """
    _, labels = np.unique(labels, return_inverse=True)
    clusters = int(labels.max()) + 1
    if clusters < 2:
        raise DataError("a silhouette needs two clusters or more; these labels hold one")
    members = np.eye(clusters)[labels]
    counts = members.sum(axis=0)
    sums = distances @ members
    points = np.arange(len(labels))
    own = counts[labels]
    inside = sums[points, labels] / np.maximum(own - 1, 1)
    means = sums / counts
    means[points, labels] = np.inf
    outside = means.min(axis=1)
    return np.where(own > 1, _ratio(inside, outside), 0.0)


def binary_silhouettes(distances: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return, for each mask, the mean silhouette over all points of the two clusters "in it" and "not in it".

    Args:
        distances: (N, N) float64, symmetric.
        masks: (M, N) bool; each holds one point at least and leaves one out.

    Returns:
        (M,) float64 in [-1, 1].

    Raises:
        DataError: a mask is empty or holds everything.
    """
    size = masks.sum(axis=1)
    nodes = masks.shape[1]
    if ((size == 0) | (size == nodes)).any():
        raise DataError("a binary silhouette needs points in the mask and points outside it")
    to_mask = (distances @ masks.T.astype(np.float64)).T
    to_rest = distances.sum(axis=1) - to_mask
    count, other = size[:, None].astype(np.float64), (nodes - size)[:, None].astype(np.float64)
    within = np.where(masks, to_mask / np.maximum(count - 1, 1), to_rest / np.maximum(other - 1, 1))
    across = np.where(masks, to_rest / other, to_mask / count)
    alone = np.where(masks, count, other) <= 1
    return np.where(alone, 0.0, _ratio(within, across)).mean(axis=1)


def _ratio(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    larger = np.maximum(inside, outside)
    return np.where(larger > 0, (outside - inside) / np.where(larger > 0, larger, 1.0), 0.0)
