"""The confusion matrix of clusters and classes, from which all scores follow, and the matchings between the two."""

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
        DataError: a map has no integer dtype, or a predicted cluster is out of range.
    """
    total = empty_confusion(n_clusters, n_classes)
    accumulate(total, prediction, label)
    return total


def empty_confusion(n_clusters: int, n_classes: int) -> np.ndarray:
    """Return zeros, int64 (n_clusters, n_classes); raise ConfigError if one of them is below 1."""
    if n_clusters < 1 or n_classes < 1:
        raise ConfigError(f"cannot score {n_clusters} clusters by {n_classes} classes; give at least one of each")
    return np.zeros((n_clusters, n_classes), np.int64)


def accumulate(total: np.ndarray, prediction: np.ndarray, label: np.ndarray) -> int:
    """Add the counts of one image to `total`, in place, and return the number of pixels that are not ignored.

    Arguments and errors are those of `confusion`.
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
    """Return `counts`; raise DataError unless it is two-dimensional, not empty, and of integers of at least 0."""
    if counts.ndim != 2 or counts.size == 0:
        raise DataError(f"a confusion matrix must have the shape (clusters, classes), got {counts.shape}")
    if counts.dtype.kind not in "iu":
        raise DataError(f"a confusion matrix counts pixels in integers, got {counts.dtype}; convert it to int64")
    if int(counts.min()) < 0:
        raise DataError(f"a confusion matrix counts pixels, but holds {int(counts.min())}; it is damaged")
    return counts


def greedy(counts: np.ndarray) -> np.ndarray:
    """Match each cluster to the class of most of its pixels (majority vote): confusion matrix to int64 (n_clusters,).

    Several clusters may share a class and a class may get none. Ties go to the lower class; a cluster without
    pixels gets class 0, which changes no score. Raises DataError if `counts` is no confusion matrix.
    """
    return check_confusion(counts).argmax(axis=1).astype(np.int64)


def hungarian(counts: np.ndarray) -> np.ndarray:
    """Match clusters and classes one to one so that most pixels agree (Hungarian matching on pixels, not on IoU).

    Takes and returns the same as `greedy`, with the same error. With more clusters than classes the surplus clusters
    are -1; with fewer, some classes get no cluster.
    """
    from scipy.optimize import linear_sum_assignment

    clusters, classes = linear_sum_assignment(check_confusion(counts), maximize=True)
    matching = np.full(counts.shape[0], -1, dtype=np.int64)
    matching[clusters] = classes
    return matching
