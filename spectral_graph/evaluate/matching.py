"""Which class each cluster stands for."""

from __future__ import annotations

import numpy as np

from spectral_graph.evaluate.confusion import check_confusion


def greedy(counts: np.ndarray) -> np.ndarray:
    """Give each cluster the class that most of its pixels have.

    Many clusters may share a class and a class may get none. Ties go to the lower class; a cluster without
    pixels gets class 0, which changes no score.

    Args:
        counts: confusion matrix (n_clusters, n_classes).

    Returns:
        int64 (n_clusters,), class of each cluster.

    Raises:
        DataError: `counts` is no confusion matrix.
    """
    return check_confusion(counts).argmax(axis=1).astype(np.int64)


def hungarian(counts: np.ndarray) -> np.ndarray:
    """Match clusters and classes one to one so that most pixels agree (counts of pixels, not IoU).

    Args:
        counts: confusion matrix (n_clusters, n_classes).

    Returns:
        int64 (n_clusters,), class of each cluster. With more clusters than classes the surplus clusters are
        -1; with fewer, some classes get no cluster.

    Raises:
        DataError: `counts` is no confusion matrix.
    """
    from scipy.optimize import linear_sum_assignment

    clusters, classes = linear_sum_assignment(check_confusion(counts), maximize=True)
    matching = np.full(counts.shape[0], -1, dtype=np.int64)
    matching[clusters] = classes
    return matching
