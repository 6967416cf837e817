import numpy as np

from spectral_graph.baselines import final_feature_rows
from spectral_graph.segment import ArrayRows, assign, fit_kmeans


def clusters(values, normalise):
    rows = final_feature_rows(ArrayRows(values), normalise)
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
    model, labels = clusters(values, normalise=True)
    assert len(set(zip(labels.ravel().tolist(), direction.ravel().tolist(), strict=True))) == 2
    np.testing.assert_allclose(np.linalg.norm(model.centroids, axis=1), 1, atol=1e-3)


def test_raw_features_cluster_by_distance():
    values, direction = features()
    _, labels = clusters(values, normalise=False)
    # Two clusters, three far groups: both directions when short, and each when long.
    assert len(set(zip(labels.ravel().tolist(), direction.ravel().tolist(), strict=True))) > 2


def test_the_source_itself_without_normalisation():
    source = ArrayRows(np.ones((1, 2, 3)))
    assert final_feature_rows(source, normalise=False) is source
