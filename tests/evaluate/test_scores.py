"""Scores against loops and scikit-learn, their summary against the statistics module."""

import json
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, jaccard_score, precision_score, recall_score

from spectral_graph.errors import ConfigError, DataError
from spectral_graph.evaluate import Scores, confusion, greedy, hungarian, score, summarise

CLASSES = ["a", "b", "c"]


def names(n):
    return [f"class {i}" for i in range(n)]


def by_loop(prediction, label, matching, n_classes):
    """IoU of each class (None if it occurs nowhere) and accuracy, pixel by pixel."""
    pairs = [
        (matching[p], c)
        for p, c in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True)
        if 0 <= c < n_classes
    ]
    iou = []
    for c in range(n_classes):
        either = sum(p == c or t == c for p, t in pairs)
        iou.append(sum(p == c and t == c for p, t in pairs) / either if either else None)
    return iou, sum(p == t for p, t in pairs) / len(pairs) if pairs else None


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from(["greedy", "hungarian"]))
def test_equals_a_loop_over_pixels(n_clusters, n_classes, seed, kind):
    rng = np.random.default_rng(seed)
    prediction = rng.integers(n_clusters, size=(4, 6))
    # Few classes in use, so that absent ones are common.
    label = rng.choice(rng.integers(-1, n_classes + 1, size=3), size=(4, 6))
    counts = confusion(prediction, label, n_clusters, n_classes)
    matching = {"greedy": greedy, "hungarian": hungarian}[kind](counts)
    got = score(counts, matching, names(n_classes), kind)
    iou, accuracy = by_loop(prediction, label, matching.tolist(), n_classes)
    assert [entry.iou for entry in got.classes] == pytest.approx(iou)
    assert got.accuracy == pytest.approx(accuracy)
    occurring = [value for value in iou if value is not None]
    assert got.miou == pytest.approx(sum(occurring) / len(occurring) if occurring else None)
    assert got.miou_all == pytest.approx(sum(occurring) / n_classes if occurring else None)
    assert [entry.pixels for entry in got.classes] == [(label == c).sum() for c in range(n_classes)]
    assert [entry.present for entry in got.classes] == [(label == c).any() for c in range(n_classes)]


def test_equals_scikit_learn():
    rng = np.random.default_rng(0)
    label = rng.integers(5, size=500)
    predicted = np.where(rng.random(500) < 0.6, label, rng.integers(5, size=500))
    got = score(confusion(predicted, label, 5, 5), np.arange(5), names(5), "hungarian")
    np.testing.assert_allclose([c.iou for c in got.classes], jaccard_score(label, predicted, average=None))
    np.testing.assert_allclose([c.precision for c in got.classes], precision_score(label, predicted, average=None))
    np.testing.assert_allclose([c.recall for c in got.classes], recall_score(label, predicted, average=None))
    assert got.miou == pytest.approx(jaccard_score(label, predicted, average="macro"))
    assert got.accuracy == pytest.approx(accuracy_score(label, predicted))
    assert [c.predicted for c in got.classes] == np.bincount(predicted, minlength=5).tolist()


def test_absent_class_by_hand():
    # Class 2 occurs nowhere: 1 and 2/3 average to 5/6 over two classes, to 5/9 over three.
    counts = np.array([[4, 0, 0], [0, 2, 0], [0, 1, 0]])
    got = score(counts, np.array([0, 1, -1]), names(3), "hungarian")
    assert got.miou == pytest.approx(5 / 6)
    assert got.miou_all == pytest.approx(5 / 9)
    assert got.classes[2].model_dump() == {
        "name": "class 2",
        "iou": None,
        "precision": None,
        "recall": None,
        "pixels": 0,
        "predicted": 0,
        "present": False,
    }


def test_predicted_but_absent_class_counts_zero():
    got = score(np.array([[4, 0], [1, 0]]), np.array([0, 1]), names(2), "hungarian")
    assert got.classes[1].iou == 0
    assert not got.classes[1].present
    assert got.miou == got.miou_all == pytest.approx(0.4)


def test_unmatched_clusters_are_wrong_not_dropped():
    counts = np.array([[6, 0], [0, 3], [2, 1]])
    got = score(counts, np.array([0, 1, -1]), names(2), "hungarian")
    assert got.unmatched_pixels == 3
    assert got.accuracy == pytest.approx(9 / 12)
    assert [c.iou for c in got.classes] == pytest.approx([6 / 8, 3 / 4])
    assert [c.precision for c in got.classes] == [1, 1]


def test_nothing_scored():
    got = score(np.zeros((3, 2), dtype=np.int64), np.array([0, 1, -1]), names(2), "hungarian")
    assert (got.miou, got.miou_all, got.accuracy, got.pixels) == (None, None, None, 0)


def test_goes_through_json():
    counts = np.array([[4, 1], [0, 2]])
    got = score(counts, greedy(counts), names(2), "greedy")
    assert Scores.model_validate(json.loads(json.dumps(got.model_dump()))) == got
    assert Scores.model_validate_json(got.model_dump_json()) == got


def test_sums_beyond_int32():
    big = 2**40
    got = score(np.array([[big, 0], [big, big]]), np.array([0, 1]), names(2), "greedy")
    assert got.pixels == 3 * big
    assert got.accuracy == pytest.approx(2 / 3)


def test_bad_input():
    counts = np.ones((2, 2), dtype=int)
    with pytest.raises(ConfigError, match="3 class names"):
        score(counts, np.array([0, 1]), names(3), "greedy")
    for matching in ([0], [0, 2], [-2, 0]):
        with pytest.raises(ConfigError, match="matching"):
            score(counts, np.array(matching), names(2), "greedy")
    with pytest.raises(DataError):
        score(np.ones((2, 2)), np.array([0, 1]), names(2), "greedy")


def run_of(seed, present=3):
    counts = np.zeros((4, 3), dtype=np.int64)
    counts[:, :present] = np.random.default_rng(seed).integers(1, 50, size=(4, present))
    return score(counts, greedy(counts), CLASSES, "greedy")


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=6))
def test_equals_the_statistics_module(seeds):
    runs = [run_of(seed) for seed in seeds]
    got = summarise(runs)
    assert (got["runs"], got["matched_by"]) == (len(seeds), "greedy")
    for name in ("miou", "miou_all", "accuracy"):
        values = [getattr(run, name) for run in runs]
        assert got[name]["values"] == values
        assert got[name]["mean"] == pytest.approx(statistics.mean(values))
        assert got[name]["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)
    for c, name in enumerate(CLASSES):
        assert got["classes"][name]["mean"] == pytest.approx(statistics.mean(run.classes[c].iou for run in runs))
    assert json.loads(json.dumps(got)) == got


def test_one_run_has_no_spread():
    got = summarise([run_of(0)])
    assert got["miou"]["sd"] is None
    assert got["miou"]["mean"] == run_of(0).miou


def test_summary_of_absent_classes():
    got = summarise([run_of(0, present=2), run_of(1, present=2), run_of(2)])
    absent = got["classes"]["c"]
    assert absent["values"][:2] == [None, None]
    assert (absent["mean"], absent["sd"]) == (absent["values"][2], None)
    assert summarise([run_of(0, present=2)])["classes"]["c"] == {"mean": None, "sd": None, "values": [None]}


def test_summary_of_nothing():
    counts = np.zeros((4, 3), dtype=np.int64)
    assert summarise([score(counts, greedy(counts), CLASSES, "greedy")] * 2)["miou"]["mean"] is None


def test_runs_that_differ_are_refused():
    counts = np.ones((3, 3), dtype=np.int64)
    with pytest.raises(ConfigError, match="seed"):
        summarise([])
    with pytest.raises(ConfigError, match=r"scores 1 .*hungarian"):
        summarise([run_of(0), score(counts, hungarian(counts), CLASSES, "hungarian")])
    with pytest.raises(ConfigError, match="differ"):
        summarise([run_of(0), score(counts, greedy(counts), ["a", "b", "z"], "greedy")])
    with pytest.raises(ConfigError, match="'a'"):
        summarise([score(counts, greedy(counts), ["a", "a", "b"], "greedy")])


def test_importing_the_packages_is_cheap():
    program = (
        "import sys, spectral_graph.evaluate, spectral_graph.segment\n"
        "print([m for m in ('sklearn', 'scipy', 'matplotlib', 'timm', 'faiss') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
