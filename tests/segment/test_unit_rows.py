"""K-means on final features, with rows of unit length and as they are."""

import numpy as np

from spectral_graph.node_rows import ArrayRows, NormalisedRows
from spectral_graph.segment import assign, fit_kmeans


def clusters(rows):
    model = fit_kmeans(rows, 2, 0, 5, 1000)
    return model, np.concatenate([labels for _, _, labels in assign(rows, model)])


def features():
    """Two directions, each short or long, and the direction (2, 10) of each node."""
    rng = np.random.default_rng(0)
    direction, length = rng.integers(2, size=(2, 2, 10))
    values = np.eye(4)[direction] * np.where(length, 50.0, 1.0)[..., None] + rng.normal(size=(2, 10, 4)) * 0.01
    return values.astype(np.float32), direction


def test_normalised_features_cluster_by_direction():
    values, direction = features()
    model, labels = clusters(NormalisedRows(ArrayRows(values)))
    assert len(set(zip(labels.ravel().tolist(), direction.ravel().tolist(), strict=True))) == 2
    np.testing.assert_allclose(np.linalg.norm(model.centroids, axis=1), 1, atol=1e-3)


def test_raw_features_cluster_by_distance():
    values, direction = features()
    before = values.copy()
    _, labels = clusters(ArrayRows(values))
    # Two clusters, three far groups: both directions when short, and each when long.
    assert len(set(zip(labels.ravel().tolist(), direction.ravel().tolist(), strict=True))) > 2
    assert np.array_equal(values, before)  # rows may share memory with their source; K-means does not change them
