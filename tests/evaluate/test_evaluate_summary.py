import json
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.errors import ConfigError
from spectral_graph.evaluate import greedy, hungarian, score, summarise

CLASSES = ["a", "b", "c"]


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


def test_absent_classes():
    got = summarise([run_of(0, present=2), run_of(1, present=2), run_of(2)])
    absent = got["classes"]["c"]
    assert absent["values"][:2] == [None, None]
    assert (absent["mean"], absent["sd"]) == (absent["values"][2], None)
    assert summarise([run_of(0, present=2)])["classes"]["c"] == {"mean": None, "sd": None, "values": [None]}


def test_nothing_scored():
    counts = np.zeros((4, 3), dtype=np.int64)
    assert summarise([score(counts, greedy(counts), CLASSES, "greedy")] * 2)["miou"]["mean"] is None


def test_bad_input():
    counts = np.ones((3, 3), dtype=np.int64)
    with pytest.raises(ConfigError, match="no scores"):
        summarise([])
    with pytest.raises(ConfigError, match=r"scores 1 .*hungarian"):
        summarise([run_of(0), score(counts, hungarian(counts), CLASSES, "hungarian")])
    with pytest.raises(ConfigError, match="differ"):
        summarise([run_of(0), score(counts, greedy(counts), ["a", "b", "z"], "greedy")])
    with pytest.raises(ConfigError, match="'a' occurs more than once"):
        summarise([score(counts, greedy(counts), ["a", "a", "b"], "greedy")])


def test_importing_the_packages_is_cheap():
    program = (
        "import sys, spectral_graph.evaluate, spectral_graph.segment\n"
        "print([m for m in ('sklearn', 'scipy', 'matplotlib', 'timm', 'faiss') if m in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
