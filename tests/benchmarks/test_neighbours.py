"""The neighbour benchmark runs at a tiny size, measures recall rightly, and writes what it promises."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    return importlib.import_module("benchmarks.neighbours")


def test_it_writes_points_and_a_plot(benchmark, tmp_path, capsys):
    pytest.importorskip("faiss")
    size = ["--images", "6", "--nodes", "50", "--dim", "32", "--rounds", "1", "--recalls", "0.9"]
    peers = ["--peers", "ivf", "pq", "hnsw", "--probes", "4", "--efforts", "64"]
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    benchmark.main([*size, *peers, *files])
    points = json.loads((tmp_path / "out.json").read_text())
    assert {point["method"] for point in points} == {
        "ours",
        "FAISS IVFFlat",
        "FAISS IVF-PQ, refined",
        "FAISS HNSW",
    }
    assert all(point["seconds"] > 0 and 0.2 < point["recall"] <= 1 for point in points)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "ours" in capsys.readouterr().out


def test_recall_counts_hits(benchmark):
    truth = np.tile(np.arange(benchmark.COUNT), (2, 1))
    truth[1, 5:] = -1
    found = truth + 100
    found[0, 3], found[1, 0] = 7, 4
    assert benchmark.recall_of(found, truth) == 2 / 15


def test_a_size_is_measured(benchmark, tmp_path, capsys):
    options = ["--images", "5", "--nodes", "40", "--dim", "16", "--size", "900", "--folder", str(tmp_path)]
    benchmark.main(options)
    record = json.loads(capsys.readouterr().out)
    assert record["nodes"] == 900 and record["seconds"] > 0 and record["peak_bytes"] > 0 and record["recall"] > 0.7
