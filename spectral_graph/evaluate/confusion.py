"""Counts of pixels by cluster and class, the one thing that all scores are made of."""

from __future__ import annotations

import numpy as np

from spectral_graph.errors import ConfigError, DataError


def confusion(prediction: np.ndarray, label: np.ndarray, n_clusters: int, n_classes: int) -> np.ndarray:
    """Count the pixels of one image by cluster and class.

    Args:
        prediction: integer cluster map, any shape, values 0..n_clusters - 1.
        label: integer class map of the same shape; pixels below 0 or at n_classes and above are ignored
            (-1 and 255 are the usual marks of an unlabelled pixel).
        n_clusters: number of clusters.
        n_classes: number of classes.

    Returns:
        int64 (n_clusters, n_classes).

    Raises:
        ConfigError: n_clusters or n_classes is below 1, or the shapes differ.
        DataError: a map is not of integers, or a predicted cluster is out of range.
    """
    if n_clusters < 1 or n_classes < 1:
        raise ConfigError(f"cannot count {n_clusters} clusters by {n_classes} classes; give at least one of each")
    total = np.zeros((n_clusters, n_classes), dtype=np.int64)
    accumulate(total, prediction, label)
    return total


def accumulate(total: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> int:
    """Add the counts of one image to `total`, in place.

    Args:
        total: int64 (n_clusters, n_classes).
        prediction: as in `confusion`.
        label: as in `confusion`.

    Returns:
        Pixels counted, those that are not ignored.

    Raises:
        ConfigError: the shapes differ.
        DataError: a map is not of integers, or a predicted cluster is out of range.
    """
    n_clusters, n_classes = total.shape
    if prediction.shape != label.shape:
        raise ConfigError(
            f"the prediction has the shape {prediction.shape}, the label {label.shape}; bring both to one size"
        )
    for name, values in (("prediction", prediction), ("label", label)):
        if values.dtype.kind not in "iub":
            raise DataError(f"the {name} map has the type {values.dtype}; give integer {name}s")
    if prediction.size == 0:
        return 0
    lowest, highest = int(prediction.min()), int(prediction.max())
    if lowest < 0 or highest >= n_clusters:
        raise DataError(
            f"the prediction holds cluster {lowest if lowest < 0 else highest}, outside 0..{n_clusters - 1}; "
            "give the number of clusters that it was made with"
        )
    counted = (label >= 0) & (label < n_classes)
    # A class and a cluster make one bin; int64 first, a product of two uint8 would wrap around.
    bins = prediction[counted].astype(np.int64) * n_classes + label[counted].astype(np.int64)
    total += np.bincount(bins, minlength=total.size).reshape(total.shape)
    return int(bins.size)


def check_confusion(counts: np.ndarray) -> np.ndarray:
    """Return `counts` if it can be a confusion matrix: two-dimensional, not empty, integers of at least 0.

    Raises:
        DataError: it cannot; the message says why.
    """
    if counts.ndim != 2 or counts.size == 0:
        raise DataError(f"a confusion matrix must have the shape (clusters, classes), got {counts.shape}")
    if counts.dtype.kind not in "iu":
        raise DataError(f"a confusion matrix counts pixels in integers, got {counts.dtype}; convert it to int64")
    if int(counts.min()) < 0:
        raise DataError(f"a confusion matrix counts pixels, but holds {int(counts.min())}; it is damaged")
    return counts
