"""Silhouettes against scikit-learn, masks against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import ConfigError, DataError
from spectral_graph.per_image.clusters import eigengap, find_regions, pairwise, unit_rows
from spectral_graph.per_image.masks import connected_parts, find_masks, merge_tree, suppress
from spectral_graph.per_image.silhouette import binary_silhouettes, silhouettes

seeds = st.integers(0, 10**6)


def blobs(k, each=20, seed=0, spread=0.05):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((k, 4)) * 3
    return np.concatenate([centre + spread * generator.standard_normal((each, 4)) for centre in centres])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, nodes=st.integers(4, 40), k=st.integers(2, 6), rounded=st.booleans())
def test_silhouettes_are_those_of_scikit_learn(seed, nodes, k, rounded):
    from sklearn.metrics import silhouette_samples

    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((nodes, 3))
    rows = rows.round() if rounded else rows  # equal points, distances of zero
    labels = generator.integers(0, k, nodes)
    labels[:2] = 0, 1
    if len(np.unique(labels)) == nodes:
        labels[2] = 0
    found = silhouettes(pairwise(rows), labels)
    np.testing.assert_allclose(found, silhouette_samples(rows, labels), atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, nodes=st.integers(3, 30))
def test_binary_silhouettes_are_those_of_scikit_learn(seed, nodes):
    from sklearn.metrics import silhouette_score

    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((nodes, 2))
    masks = generator.random((5, nodes)) < 0.4
    masks[:, 0], masks[:, 1] = True, False
    expected = [silhouette_score(rows, mask) for mask in masks]
    np.testing.assert_allclose(binary_silhouettes(pairwise(rows), masks), expected, atol=1e-7)


def test_silhouettes_of_one_cluster_are_refused():
    with pytest.raises(DataError, match="two clusters"):
        silhouettes(np.zeros((3, 3)), np.zeros(3, int))
    with pytest.raises(DataError, match="outside it"):
        binary_silhouettes(np.zeros((3, 3)), np.ones((1, 3), bool))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_silhouette_finds_the_number_of_blobs(k):
    rows = blobs(k)
    found = find_regions(rows, pairwise(rows), np.zeros(1), range(2, 9), "silhouette", seed=0, n_init=4)
    assert found.k == k
    assert len({tuple(np.unique(part)) for part in found.labels.reshape(k, -1)}) == k
    assert found.finest.max() == 7


def test_eigengap_takes_the_largest_gap():
    values = np.array([1.0, 0.95, 0.9, 0.4, 0.35])
    assert eigengap(values, range(2, 11)) == 3
    assert eigengap(np.array([1.0, 0.8, 0.6, 0.4]), range(2, 4)) == 2
    with pytest.raises(ConfigError, match="raise `channels`"):
        eigengap(values, range(5, 9))
    rows = blobs(2)
    assert find_regions(rows, pairwise(rows), values, range(2, 6), "eigengap", seed=0, n_init=1).k == 3


@pytest.mark.parametrize("different", [1, 2, 3])
def test_too_few_different_rows_end_the_search(different):
    rows = np.eye(4)[np.arange(12) % different]
    found = find_regions(rows, pairwise(rows), np.zeros(1), range(2, 11), "silhouette", seed=0, n_init=1)
    assert found.k == different
    assert found.labels.max() == different - 1


def test_unit_rows_keep_zero():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, h=st.integers(1, 7), w=st.integers(1, 7))
def test_connected_parts_are_those_of_a_flood(seed, h, w):
    labels = np.random.default_rng(seed).integers(0, 3, (h, w))
    parts = connected_parts(labels)
    assert sorted(np.unique(parts)) == list(range(parts.max() + 1))
    flooded, count = -np.ones((h, w), int), 0
    for y in range(h):
        for x in range(w):
            if flooded[y, x] >= 0:
                continue
            stack = [(y, x)]
            while stack:
                i, j = stack.pop()
                if 0 <= i < h and 0 <= j < w and flooded[i, j] < 0 and labels[i, j] == labels[y, x]:
                    flooded[i, j] = count
                    stack += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
            count += 1
    assert len(np.unique(np.stack([parts.ravel(), flooded.ravel()]), axis=1).T) == count == parts.max() + 1


@settings(max_examples=25, deadline=None)
@given(seed=seeds, h=st.integers(1, 6), w=st.integers(2, 6))
def test_merge_tree_is_that_of_a_full_search(seed, h, w):
    generator = np.random.default_rng(seed)
    parts = connected_parts(generator.integers(0, 3, (h, w)))
    rows = generator.standard_normal((h * w, 3))
    regions = [parts.ravel() == part for part in range(parts.max() + 1)]
    expected = [mask for mask in regions if not mask.all()]

    def touch(a, b):
        a, b = a.reshape(h, w), b.reshape(h, w)
        beside = (a[:, 1:] & b[:, :-1]).any() or (b[:, 1:] & a[:, :-1]).any()
        return beside or (a[1:] & b[:-1]).any() or (b[1:] & a[:-1]).any()

    def ward(a, b):
        gap = rows[a].mean(axis=0) - rows[b].mean(axis=0)
        return a.sum() * b.sum() / (a.sum() + b.sum()) * (gap @ gap)

    while len(regions) > 1:
        pairs = [(ward(a, b), i, j) for j, b in enumerate(regions) for i, a in enumerate(regions[:j]) if touch(a, b)]
        _, i, j = min(pairs)
        merged = regions[i] | regions[j]
        regions = [mask for n, mask in enumerate(regions) if n not in (i, j)] + [merged]
        if not merged.all():
            expected.append(merged)
    found = merge_tree(parts, rows)
    assert {mask.tobytes() for mask in found} == {mask.tobytes() for mask in expected}
    assert len(found) == max(2 * (parts.max() + 1) - 2, 0)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, count=st.integers(1, 12), iou=st.sampled_from([0.2, 0.5, 0.7, 1.0]))
def test_suppression_is_that_of_two_loops(seed, count, iou):
    generator = np.random.default_rng(seed)
    masks = generator.random((count, 9)) < 0.6
    masks[:, 0] = True
    scores = generator.integers(0, 4, count) / 4
    expected = []
    for i in sorted(range(count), key=lambda i: (-scores[i], i)):
        ious = [(masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum() for j in expected]
        if all(value <= iou for value in ious):
            expected.append(i)
    assert suppress(masks, scores, iou).tolist() == expected


def test_masks_keep_to_their_limits():
    labels = np.zeros((8, 8), int)
    labels[1:4, 1:4], labels[5:7, 4:8] = 1, 2
    rows = np.eye(3)[labels.ravel()] + 0.01 * np.random.default_rng(0).standard_normal((64, 3))
    found = find_masks(labels, rows, pairwise(rows), iou=0.7, area=(0.05, 0.9), most=12)
    shares = found.masks.mean(axis=(1, 2))
    assert ((shares >= 0.05) & (shares <= 0.9)).all() and (found.scores > 0).all()
    assert (np.diff(found.scores) <= 0).all()
    assert any((mask == (labels == 1)).all() for mask in found.masks)
    assert len(find_masks(labels, rows, pairwise(rows), iou=0.7, area=(0.05, 0.9), most=1).masks) == 1
    flat = np.zeros((4, 4), int)
    assert find_masks(flat, np.ones((16, 2)), np.zeros((16, 16)), iou=0.7, area=(0.0, 1.0), most=3).masks.shape == (
        0,
        4,
        4,
    )
