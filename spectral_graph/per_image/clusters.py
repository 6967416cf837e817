"""From eigenvectors to regions: K-means, and how many clusters a photo has (section 4.1 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from spectral_graph.errors import ConfigError
from spectral_graph.node_rows import ArrayRows
from spectral_graph.per_image.silhouette import silhouettes
from spectral_graph.segment import assign, fit_kmeans

Choice = Literal["silhouette", "eigengap"]


@dataclass(frozen=True, eq=False)
class Regions:
    """A photo's clusters.

    Attributes:
        labels: (N,) int64, 0..k - 1.
        k: number of clusters.
        silhouettes: K -> mean silhouette of every K that was tried.
        finest: (N,) int64, the labels of the largest K.
    """

    labels: np.ndarray
    k: int
    silhouettes: dict[int, float] = field(default_factory=dict)
    finest: np.ndarray | None = None


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return each row of (N, C) divided by its length; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def pairwise(rows: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances (N, N) float64 between rows (N, C)."""
    from scipy.spatial.distance import cdist

    distances: np.ndarray = cdist(rows, rows)
    return distances


def eigengap(values: np.ndarray, candidates: Sequence[int]) -> int:
    """Return the K of the candidates with the largest gap between the K-th and the next eigenvalue.

    Args:
        values: (C,) descending.
        candidates: numbers of clusters; those of C or more have no gap and are left out.

    Returns:
        K, the smallest of equals.

    Raises:
        ConfigError: no candidate is below C.
    """
    known = [k for k in candidates if k < len(values)]
    if not known:
        raise ConfigError(
            f"`choose=eigengap` with {len(values)} eigenvectors can tell K below {len(values)} only; "
            "raise `channels` or lower `clusters`"
        )
    return max(known, key=lambda k: (values[k - 1] - values[k], -k))


def find_regions(
    rows: np.ndarray,
    distances: np.ndarray,
    values: np.ndarray,
    candidates: Sequence[int],
    choice: Choice,
    *,
    seed: int,
    n_init: int,
) -> Regions:
    """Cluster the nodes of a photo with each K, and choose one.

    A K for which there are too few different rows is left out: a photo of one colour ends as one region.

    Args:
        rows: (N, C), what is clustered.
        distances: (N, N) between the rows.
        values: (C,) eigenvalues, descending, for the eigengap.
        candidates: ascending numbers of clusters.
        choice: ``silhouette``: the highest mean silhouette (the paper); ``eigengap``.
        seed: of K-means.
        n_init: starts of K-means.

    Returns:
        The regions of the chosen K.
    """
    source = ArrayRows(rows[None].astype(np.float32))
    found: dict[int, np.ndarray] = {}
    scores: dict[int, float] = {}
    for k in candidates:
        try:
            model = fit_kmeans(source, k, seed, n_init, max(len(rows), k))
        except ConfigError:
            # Too few different rows for this K, hence for every larger one.
            break
        ((_, _, labels),) = assign(source, model)
        found[k] = labels[0].astype(np.int64)
        if len(np.unique(found[k])) > 1:
            scores[k] = float(silhouettes(distances, found[k]).mean())
    if not scores:
        nothing = np.zeros(len(rows), np.int64)
        return Regions(nothing, 1, {}, nothing)
    by_silhouette = max(scores, key=lambda each: (scores[each], -each))
    k = eigengap(values, list(scores)) if choice == "eigengap" else by_silhouette
    return Regions(found[k], k, scores, found[max(scores)])
