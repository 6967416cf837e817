import json

import numpy as np
import pytest

from spectral_graph.errors import ConfigError, DataError
from spectral_graph.evaluate import SegmentationResult, cluster_maps, evaluate_labels
from spectral_graph.node_rows import ArrayRows
from spectral_graph.segment import assign, fit_kmeans

CLASSES = ["sky", "ground", "plant"]


def scene(images=5, seed=0):
    """Cluster maps (images, 4, 4) and label maps of differing sizes, some of them missing or ignored."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(4, size=(images, 4, 4)).astype(np.uint16)
    labels = {}
    for i in range(images):
        size = tuple(rng.integers(3, 12, size=2))
        labels[i] = rng.integers(-1, 4, size=size)
    labels[1] = None
    labels[3] = np.full((5, 5), 255, dtype=np.uint8)
    return maps, labels


def by_loop(maps, labels):
    counts = np.zeros((4, 3), dtype=int)
    for i, label in labels.items():
        if label is None:
            continue
        height, width = label.shape
        for y in range(height):
            for x in range(width):
                if 0 <= label[y, x] < 3:
                    cell = int((y + 0.5) / height * 4), int((x + 0.5) / width * 4)
                    counts[maps[i][cell], label[y, x]] += 1
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_pixels(seed):
    maps, labels = scene(seed=seed)
    got = evaluate_labels(enumerate(maps), labels.get, 4, CLASSES)
    expected = by_loop(maps, labels)
    assert got.confusion == tuple(tuple(row) for row in expected.tolist())
    assert (got.images_scored, got.images_without_label, got.images_ignored) == (3, 1, 1)
    assert got.pixels_scored == expected.sum()
    assert got.pixels_scored + got.pixels_ignored == sum(x.size for x in labels.values() if x is not None)
    assert got.greedy.accuracy == pytest.approx(expected.max(axis=1).sum() / expected.sum())
    assert got.greedy.matched_by == "greedy"
    assert got.hungarian.matched_by == "hungarian"
    assert sorted(got.hungarian.matching) == [-1, 0, 1, 2]


def test_order_of_images_does_not_matter():
    maps, labels = scene()
    forward = evaluate_labels(enumerate(maps), labels.get, 4, CLASSES)
    assert evaluate_labels(reversed(list(enumerate(maps))), labels.get, 4, CLASSES) == forward


def test_from_rows_to_scores():
    # Each class is one direction of the features: a perfect segmentation at every label size.
    truth = np.random.default_rng(0).integers(3, size=(4, 6, 6))
    truth[0, 0, :3] = [0, 1, 2]
    source = ArrayRows(np.eye(3, dtype=np.float32)[truth.reshape(4, 36)])
    model = fit_kmeans(source, 3, 0, 5, 1000)
    labels = {i: truth[i].repeat(2 + i, 0).repeat(3, 1) for i in range(4)}
    got = evaluate_labels(cluster_maps(assign(source, model, 3), (6, 6)), labels.get, 3, CLASSES)
    assert got.greedy.miou == got.hungarian.miou == got.hungarian.accuracy == 1
    assert got.images_scored == 4


def test_goes_through_json():
    maps, labels = scene()
    got = evaluate_labels(enumerate(maps), labels.get, 4, CLASSES)
    assert SegmentationResult.model_validate(json.loads(got.model_dump_json())) == got


@pytest.mark.parametrize(
    ("label", "without", "ignored"),
    [(None, 2, 0), (np.full((3, 3), -1), 0, 2), (np.zeros((0, 7), dtype=np.uint8), 0, 2)],
)
def test_nothing_to_score(label, without, ignored):
    got = evaluate_labels(enumerate(np.zeros((2, 4, 4), int)), lambda image: label, 4, CLASSES)
    assert got.greedy.miou is got.hungarian.miou is got.greedy.accuracy is None
    assert (got.images_scored, got.images_without_label, got.images_ignored) == (0, without, ignored)
    assert got.pixels_scored == 0


def test_no_images():
    got = evaluate_labels([], lambda image: None, 4, CLASSES)
    assert got.images_scored == got.images_without_label == 0


@pytest.mark.parametrize(
    ("clusters", "label", "reason"),
    [
        (np.full((2, 2), 9), np.zeros((4, 4), int), "image 7: .*cluster 9"),
        (np.zeros((2, 2), int), np.zeros((4, 4)), "image 7: .*float64"),
        (np.zeros((2, 2), int), np.zeros((4, 4, 3), int), r"image 7: .*\(4, 4, 3\)"),
        (np.zeros(4, int), np.zeros((4, 4), int), r"image 7: .*\(4,\)"),
    ],
)
def test_bad_maps_are_named_by_image(clusters, label, reason):
    with pytest.raises(DataError, match=reason):
        evaluate_labels([(7, clusters)], lambda image: label, 4, CLASSES)


def test_bad_options():
    with pytest.raises(ConfigError, match="0 classes"):
        evaluate_labels([], lambda image: None, 4, [])
    with pytest.raises(ConfigError, match="5 x 5"):
        next(cluster_maps([(0, 1, np.zeros((1, 16), int))], (5, 5)))
