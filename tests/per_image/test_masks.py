"""Binary silhouettes against scikit-learn, masks against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from spectral_graph.per_image.masks import binary_silhouettes, connected_components, find_masks, mask_nms, merge_tree
from spectral_graph.per_image.options import make_image_config

seeds = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, nodes=st.integers(3, 30))
def test_binary_silhouettes_are_those_of_scikit_learn(seed, nodes):
    from sklearn.metrics import silhouette_score

    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((nodes, 2))
    masks = generator.random((5, nodes)) < 0.4
    masks[:, 0], masks[:, 1] = True, False
    expected = [silhouette_score(rows, mask) for mask in masks]
    np.testing.assert_allclose(binary_silhouettes(cdist(rows, rows), masks), expected, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, h=st.integers(1, 7), w=st.integers(1, 7))
def test_connected_components_are_those_of_a_flood(seed, h, w):
    labels = np.random.default_rng(seed).integers(0, 3, (h, w))
    parts = connected_components(labels)
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
    parts = connected_components(generator.integers(0, 3, (h, w)))
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
    assert mask_nms(masks, scores, iou).tolist() == expected


def test_masks_keep_to_their_limits():
    labels = np.zeros((8, 8), int)
    labels[1:4, 1:4], labels[5:7, 4:8] = 1, 2
    rows = np.eye(3)[labels.ravel()] + 0.01 * np.random.default_rng(0).standard_normal((64, 3))
    config = make_image_config({"mask_area": "0.05-0.9"})
    masks, scores = find_masks(labels, rows, cdist(rows, rows), config)
    shares = masks.mean(axis=(1, 2))
    assert ((shares >= 0.05) & (shares <= 0.9)).all() and (scores > 0).all()
    assert (np.diff(scores) <= 0).all()
    assert any((mask == (labels == 1)).all() for mask in masks)
    one, _ = find_masks(labels, rows, cdist(rows, rows), config.model_copy(update={"max_masks": 1}))
    assert len(one) == 1
    none, scores = find_masks(np.zeros((4, 4), int), np.ones((16, 2)), np.zeros((16, 16)), config)
    assert none.shape == (0, 4, 4) and scores.shape == (0,)


def test_nms_of_boxes_would_drop_a_mask_that_hardly_overlaps():
    ops = pytest.importorskip("torchvision.ops")
    ring = np.ones((6, 6), bool)
    ring[1:-1, 1:-1] = False
    corners = np.zeros((6, 6), bool)
    corners[1, 1] = corners[4, 4] = True
    masks, scores = np.stack([ring, ~ring, corners]), np.array([0.9, 0.4, 0.6])
    assert mask_nms(masks.reshape(3, -1), scores, 0.5).tolist() == [0, 2, 1]
    boxes = ops.masks_to_boxes(torch.from_numpy(masks))
    assert ops.nms(boxes, torch.from_numpy(scores).float(), 0.5).tolist() == [0, 2]
