import hashlib
import os
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.node_rows import ArrayRows, ImageRows
from spectral_graph.segment import KMeansModel, assign, fit_kmeans
from spectral_graph.segment.kmeans import sample_rows


def blobs(images=6, nodes=16, channels=5, centres=4, seed=0):
    """Well separated clusters: values (images, nodes, channels), centre of each node (images, nodes)."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(centres, channels)) * 100
    which = rng.integers(centres, size=(images, nodes))
    return (centre[which] + rng.normal(size=(images, nodes, channels))).astype(np.float32), which


def model_of(centroids):
    return KMeansModel(np.asarray(centroids, dtype=np.float32), 0.0, 1, 0)


def labels_of(source, model, image_chunk=None):
    return np.concatenate([labels for _, _, labels in assign(source, model, image_chunk)])


def nearest_by_loop(values, centroids):
    """Brute force in exact rational arithmetic, ties to the lower cluster."""
    from fractions import Fraction

    out = np.empty(values.shape[:2], dtype=np.int64)
    for place in np.ndindex(*out.shape):
        distances = [
            sum((Fraction(float(x)) - Fraction(float(c))) ** 2 for x, c in zip(values[place], centroid, strict=True))
            for centroid in centroids
        ]
        out[place] = distances.index(min(distances))
    return out


def test_finds_separated_blobs():
    values, which = blobs()
    model = fit_kmeans(ArrayRows(values), k=4, seed=1, n_init=5, max_rows=10**6)
    labels = labels_of(ArrayRows(values), model)
    pairs = set(zip(which.ravel().tolist(), labels.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 4
    assert model.centroids.dtype == np.float32
    assert (model.centroids.shape, model.rows_used, model.seed) == ((4, 5), 96, 1)
    rows = values.reshape(-1, 5).astype(np.float64)
    for cluster in range(4):
        np.testing.assert_allclose(model.centroids[cluster], rows[labels.ravel() == cluster].mean(axis=0), rtol=1e-4)
    inertia = sum(np.sum((row - model.centroids[label]) ** 2) for row, label in zip(rows, labels.ravel(), strict=True))
    assert model.inertia == pytest.approx(inertia, rel=1e-3)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_the_unit_of_the_features_does_not_matter(scale):
    values, _ = blobs()
    plain = fit_kmeans(ArrayRows(values), 4, 0, 2, 10**6)
    scaled = fit_kmeans(ArrayRows(values * np.float32(scale)), 4, 0, 2, 10**6)
    np.testing.assert_array_equal(scaled.centroids, plain.centroids * np.float32(scale))
    np.testing.assert_array_equal(
        labels_of(ArrayRows(values * np.float32(scale)), scaled), labels_of(ArrayRows(values), plain)
    )


def test_same_seed_same_bits_other_seed_other_sample():
    values, _ = blobs(nodes=50)
    one, two = (fit_kmeans(ArrayRows(values), 3, 5, 1, 40) for _ in range(2))
    assert one.centroids.tobytes() == two.centroids.tobytes()
    assert (sample_rows(ArrayRows(values), 40, 5) != sample_rows(ArrayRows(values), 40, 6)).any()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 100), st.integers(0, 5))
def test_sample_is_even_over_images_and_without_replacement(images, nodes, max_rows, seed):
    # The value of a row is its place, so the sample tells what was drawn.
    values = np.arange(images * nodes, dtype=np.float32).reshape(images, nodes, 1)
    sample = sample_rows(ArrayRows(values), max_rows, seed)[:, 0].astype(int)
    assert len(sample) == min(max_rows, images * nodes)
    assert (np.diff(sample) > 0).all()
    shares = np.bincount(sample // nodes, minlength=images)
    assert shares.max() - shares.min() <= 1


def test_sample_does_not_depend_on_how_the_images_are_read(monkeypatch):
    values, _ = blobs(nodes=30)
    plain = sample_rows(ArrayRows(values), 50, 3)
    monkeypatch.setattr("spectral_graph.segment.rows._READ_BYTES", 1)
    assert sample_rows(ArrayRows(values), 50, 3).tobytes() == plain.tobytes()


def test_memory_does_not_grow_with_the_number_of_images(monkeypatch):
    class Made(ImageRows):
        def read(self, which):
            shape = (which.stop - which.start, self.channels)
            return np.random.default_rng(which.start).normal(size=shape).astype(np.float32)

    def made(n_images):
        return Made((n_images * 64, 16), 64)

    monkeypatch.setattr("spectral_graph.segment.rows._READ_BYTES", 2**16)

    def peak(n_images):
        tracemalloc.start()
        model = fit_kmeans(made(n_images), 3, 0, 1, 500)
        for _ in assign(made(n_images), model):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(16)
    # The larger source holds 8 MB of rows.
    assert peak(2000) < peak(250) + 2**18


SMALL = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1e-20, 3e30])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_assign_is_the_exact_argmin_ties_to_the_lower_cluster(data):
    # Values from a small set, so that duplicates and exact ties are the rule.
    channels = data.draw(st.integers(1, 4))
    values = data.draw(arrays(np.float32, (3, 4, channels), elements=SMALL))
    centroids = data.draw(arrays(np.float32, (data.draw(st.integers(1, 6)), channels), elements=SMALL))
    got = labels_of(ArrayRows(values), model_of(centroids))
    exact = nearest_by_loop(values, centroids)
    for place in zip(*np.nonzero(got != exact), strict=True):
        # Where float64 cannot tell two distances apart, the lower of the two must have been taken.
        distance = np.sum((values[place].astype(np.float64) - centroids.astype(np.float64)) ** 2, axis=1)
        assert distance[got[place]] == pytest.approx(distance[exact[place]], rel=1e-13)
        assert got[place] == distance.argmin()


def test_assign_near_ties_follow_the_summed_differences():
    # Rows halfway between centroids, and centroids one rounding apart: the fast products cannot decide these.
    rng = np.random.default_rng(0)
    for channels in (1, 7, 50):
        centroids = rng.normal(size=(20, channels)).astype(np.float32)
        centroids[10:] = centroids[:10] + rng.integers(-1, 2, size=(10, channels)) * np.float32(2.0**-20)
        pairs = rng.integers(20, size=(2, 4, 500))
        values = (centroids[pairs[0]] + centroids[pairs[1]]) / 2
        difference = values[:, :, None].astype(np.float64) - centroids.astype(np.float64)
        expected = np.sum(difference**2, axis=-1).argmin(axis=-1)
        np.testing.assert_array_equal(labels_of(ArrayRows(values), model_of(centroids)), expected)


def test_assign_far_from_the_origin():
    # Squared norms of 1e14 and distances near 1: float32 products could not tell these centroids apart.
    rng = np.random.default_rng(0)
    centroids = (1e7 + rng.integers(-3, 4, size=(5, 3))).astype(np.float32)
    values = (1e7 + rng.integers(-3, 4, size=(2, 20, 3))).astype(np.float32)
    np.testing.assert_array_equal(labels_of(ArrayRows(values), model_of(centroids)), nearest_by_loop(values, centroids))


@pytest.mark.parametrize("image_chunk", [1, 2, 3, 7, 50, None])
def test_assign_does_not_depend_on_the_chunk(image_chunk):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(7, 33, 6)).astype(np.float32)
    model = model_of(rng.normal(size=(11, 6)))
    got, covered = [], 0
    for start, stop, labels in assign(ArrayRows(values), model, image_chunk):
        assert start == covered
        assert labels.shape == (stop - start, 33)
        assert labels.dtype == np.uint16
        covered = stop
        got.append(labels)
    assert covered == 7
    np.testing.assert_array_equal(np.concatenate(got), nearest_by_loop(values, model.centroids))


def test_many_clusters_need_a_wider_type():
    centroids = np.arange(2**16 + 1, dtype=np.float32)[:, None]
    labels = labels_of(ArrayRows(np.full((1, 2, 1), 2.0**16)), model_of(centroids))
    assert labels.dtype == np.int32
    assert (labels == 2**16).all()


def test_result_does_not_depend_on_the_number_of_threads():
    program = (
        "import hashlib, numpy as np\n"
        "from spectral_graph.node_rows import ArrayRows\n"
        "from spectral_graph.segment import assign, fit_kmeans\n"
        "from spectral_graph.evaluate import coordinate_regression\n"
        "source = ArrayRows(np.random.default_rng(0).normal(size=(6, 1024, 24)))\n"
        "model = fit_kmeans(source, 12, 0, 2, 4000, max_iter=15)\n"
        "digest = hashlib.sha256(model.centroids.tobytes())\n"
        "for _, _, labels in assign(source, model): digest.update(labels.tobytes())\n"
        "digest.update(coordinate_regression(source, (32, 32)).model_dump_json().encode())\n"
        "print(digest.hexdigest())\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for threads in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop()) == 2 * hashlib.sha256().digest_size


@pytest.mark.parametrize(
    ("values", "k", "distinct"),
    [
        (np.ones((2, 3, 4)), 2, 1),
        (np.arange(6.0).reshape(2, 3, 1), 7, 6),
        (np.array([0.0, -0.0, 1.0]).reshape(1, 3, 1), 3, 2),
        (np.repeat(np.arange(3.0), 100).reshape(3, 100, 1), 4, 3),
    ],
)
def test_more_clusters_than_distinct_rows(values, k, distinct):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigError, match=f"k={k} .* only {distinct} distinct"):
            fit_kmeans(ArrayRows(values), k, 0, 2, 10**6)


def test_as_many_clusters_as_distinct_rows():
    values = np.repeat(np.arange(3.0), 100).reshape(3, 100, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit_kmeans(ArrayRows(values), 3, 0, 3, 10**6)
    np.testing.assert_allclose(np.sort(model.centroids[:, 0]), [0, 1, 2], atol=1e-6)


def test_rows_that_differ_too_little_leak_no_warning():
    # Distinct in float32, yet one value beside the outlier that sets the scale.
    values = np.array([0.0, 1e-30, 2e-30, 1e30], dtype=np.float32).reshape(1, 4, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigError, match="could not keep k=4 clusters apart"):
            fit_kmeans(ArrayRows(values), 4, 0, 1, 10)


def test_one_cluster_of_equal_rows():
    model = fit_kmeans(ArrayRows(np.zeros((2, 2, 3))), 1, 0, 1, 10)
    assert (model.centroids == 0).all()
    assert model.inertia == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_rows_are_refused_in_fit_and_assign(bad):
    values, _ = blobs()
    model = fit_kmeans(ArrayRows(values), 2, 0, 1, 100)
    values[4, 7, 2] = bad
    with pytest.raises(FeatureError, match="image 4, node 7, channel 2"):
        fit_kmeans(ArrayRows(values), 2, 0, 1, 100)
    with pytest.raises(FeatureError, match="image 4, node 7, channel 2"):
        labels_of(ArrayRows(values), model)


@pytest.mark.parametrize(
    ("option", "value"),
    [("k", 0), ("n_init", 0), ("max_rows", 0), ("max_rows", 1), ("max_iter", 0), ("seed", -1), ("seed", 2**32)],
)
def test_bad_options(option, value):
    options = {"k": 2, "seed": 0, "n_init": 1, "max_rows": 10, "max_iter": 5, option: value}
    with pytest.raises(ConfigError, match=f"{option}={value}"):
        fit_kmeans(ArrayRows(np.eye(4)[None]), **options)


def test_assign_refuses_other_channels_before_reading():
    with pytest.raises(FeatureError, match="4 channels, the clusters were fitted on 3"):
        assign(ArrayRows(np.zeros((1, 1, 4))), model_of(np.zeros((2, 3))))


def test_no_images():
    with pytest.raises(ConfigError, match="no rows"):
        fit_kmeans(ArrayRows(np.zeros((0, 4, 3))), 1, 0, 1, 10)
