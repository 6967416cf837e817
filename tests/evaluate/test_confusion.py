"""The confusion matrix against loops, matchings against all permutations."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix

from spectral_graph.errors import ConfigError, DataError
from spectral_graph.evaluate import accumulate, confusion, greedy, hungarian
from spectral_graph.evaluate.confusion import check_confusion

COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 6))
)


def by_loop(prediction, label, n_clusters, n_classes):
    counts = [[0] * n_classes for _ in range(n_clusters)]
    for p, c in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
        if 0 <= c < n_classes:
            counts[p][c] += 1
    return counts


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_equals_a_loop_over_pixels(n_clusters, n_classes, seed):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(n_clusters, size=(5, 7)).astype(np.uint16)
    label = rng.integers(-2, n_classes + 3, size=(5, 7))
    got = confusion(prediction, label, n_clusters, n_classes)
    assert got.dtype == np.int64
    assert got.tolist() == by_loop(prediction, label, n_clusters, n_classes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int64])
def test_small_types_do_not_wrap(dtype):
    rng = np.random.default_rng(0)
    prediction, label = rng.integers(100, size=(2, 40, 40)).astype(dtype)
    expected = confusion_matrix(prediction.ravel(), label.ravel(), labels=np.arange(100))
    np.testing.assert_array_equal(confusion(prediction, label, 100, 100), expected)


def test_accumulates_over_images():
    rng = np.random.default_rng(1)
    total = np.zeros((4, 3), dtype=np.int64)
    everything = [], []
    for size in [(3, 4), (5, 2), (1, 1)]:
        prediction, label = rng.integers(4, size=size), rng.integers(-1, 4, size=size)
        assert accumulate(total, prediction, label) == ((label >= 0) & (label < 3)).sum()
        everything[0].append(prediction.ravel())
        everything[1].append(label.ravel())
    np.testing.assert_array_equal(total, confusion(*(np.concatenate(part) for part in everything), 4, 3))


def test_255_in_uint8_and_minus_one_are_ignored():
    assert confusion(np.zeros((1, 2), np.uint8), np.full((1, 2), 255, np.uint8), 2, 27).sum() == 0
    assert confusion(np.zeros((1, 2), np.uint8), np.full((1, 2), -1, np.int8), 2, 27).sum() == 0


def test_empty_map():
    assert confusion(np.zeros((0, 4), int), np.zeros((0, 4), int), 2, 3).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(("cluster", "shown"), [(5, "5"), (-1, "-1")])
def test_cluster_out_of_range(cluster, shown):
    with pytest.raises(DataError, match=rf"cluster {shown}\b"):
        confusion(np.array([0, cluster]), np.array([0, 0]), 5, 2)


def test_other_bad_input():
    with pytest.raises(ConfigError, match=r"\(2,\).*\(3,\)"):
        confusion(np.zeros(2, int), np.zeros(3, int), 1, 1)
    with pytest.raises(DataError, match=r"label.*float64"):
        confusion(np.zeros(2, int), np.zeros(2), 1, 1)
    with pytest.raises(DataError, match=r"prediction.*float32"):
        confusion(np.zeros(2, np.float32), np.zeros(2, int), 1, 1)
    with pytest.raises(ConfigError, match="0 clusters"):
        confusion(np.zeros(2, int), np.zeros(2, int), 0, 1)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (np.zeros(3, int), "shape"),
        (np.zeros((0, 3), int), "shape"),
        (np.zeros((2, 2)), "float64"),
        (-np.eye(2, dtype=int), "-1"),
    ],
)
def test_invalid_confusion_matrix(counts, reason):
    with pytest.raises(DataError, match=reason):
        check_confusion(counts)


@given(COUNTS)
def test_greedy_takes_the_first_largest(counts):
    assert greedy(counts).tolist() == [row.index(max(row)) for row in counts.tolist()]


@given(COUNTS)
def test_hungarian_is_the_best_of_all_permutations(counts):
    clusters, classes = counts.shape
    matching = hungarian(counts)
    used = [c for c in matching.tolist() if c >= 0]
    assert len(used) == len(set(used)) == min(clusters, classes)
    assert matching.shape == (clusters,)
    agreed = sum(counts[p, c] for p, c in enumerate(matching.tolist()) if c >= 0)
    wide = counts if clusters <= classes else counts.T
    best = max(sum(wide[i, j] for i, j in enumerate(order)) for order in permutations(range(wide.shape[1]), len(wide)))
    assert agreed == best


@given(COUNTS)
def test_greedy_never_agrees_on_fewer_pixels(counts):
    def agreed(matching):
        return sum(counts[p, c] for p, c in enumerate(matching.tolist()) if c >= 0)

    assert agreed(greedy(counts)) >= agreed(hungarian(counts))


def test_surplus_clusters_are_unmatched():
    assert hungarian(np.array([[5, 0], [4, 0], [0, 3]])).tolist() == [0, -1, 1]


def test_counts_beyond_int32():
    big = 2**40
    assert hungarian(np.array([[big, big + 1], [big, big]])).tolist() == [1, 0]


@pytest.mark.parametrize("match", [greedy, hungarian])
def test_bad_matrix(match):
    with pytest.raises(DataError, match="shape"):
        match(np.zeros(3, dtype=int))
