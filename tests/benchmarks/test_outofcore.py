"""The out-of-core benchmark: its graph is what it says, its results are right, and its cap holds."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("scattered", [0.0, 0.3])
def test_the_graph_is_symmetric_whatever_rows_are_made_together(benchmark, scattered):
    graph = benchmark("outofcore_graph").Scenes(3, side=8, images=6, scattered=scattered)
    whole = graph.rows(0, graph.nodes)
    assert whole.shape == (graph.nodes, graph.nodes) == (1152, 1152)
    assert abs(whole - whole.T).max() == 0 and not whole.diagonal().any() and whole.data.min() > 0
    cut = sp.vstack([graph.rows(0, 501), graph.rows(501, graph.nodes)])
    assert abs(whole - cut).max() == 0
    np.testing.assert_allclose(graph.degrees(0, graph.nodes), np.asarray(whole.sum(axis=1)).ravel(), rtol=1e-6)
    in_order = 10 * graph.nodes - 2 * 6 * 64
    assert whole.nnz == in_order if scattered == 0 else abs(whole.nnz - in_order) < 0.05 * in_order
    rows, columns = whole.nonzero()
    scene = 6 * 64
    assert (abs(rows // scene - columns // scene).max() <= 1) == (scattered == 0)
    inside = (rows // 64 == columns // 64).sum(), (rows // scene == columns // scene).sum()
    assert inside[0] >= 4 * graph.nodes
    if scattered == 0:
        assert inside == (4 * graph.nodes, 8 * graph.nodes)


def test_the_stored_graph_is_the_normalised_one(benchmark, tmp_path):
    module = benchmark("outofcore_graph")
    graph = module.Scenes(3, side=4, images=5)
    store, edges = module.write_graph(graph, tmp_path, 64)
    a = graph.rows(0, graph.nodes).astype(np.float64)
    root = sp.diags(1 / np.sqrt(np.asarray(a.sum(axis=1)).ravel()))
    operator = importlib.import_module("spectral_graph.graph.operator").merged_operator(store, "symmetric")
    assert edges == a.nnz and len(store.names("merged/symmetric")) == 4
    np.testing.assert_allclose(operator @ np.eye(graph.nodes, dtype=np.float32), (root @ a @ root).toarray(), atol=1e-6)


def test_two_sizes_end_with_the_eigenvalues_of_scipy(benchmark, tmp_path, capsys):
    options = ["--sizes", "600", "1000", "--side", "8", "--images", "5", "--channels", "2", "--block", "128"]
    records = benchmark("outofcore").main(
        [*options, "--tol", "1e-4", "--folder", str(tmp_path), "--json", str(tmp_path / "out.json")]
    )
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["sizes"] == json.loads(json.dumps(records))
    for record, scenes in zip(records, (2, 4), strict=True):
        assert record["nodes"] == scenes * 320 and record["residual"] <= 1e-4
        graph = benchmark("outofcore_graph").Scenes(scenes, side=8, images=5)
        a = graph.rows(0, graph.nodes).astype(np.float64)
        root = sp.diags(1 / np.sqrt(np.asarray(a.sum(axis=1)).ravel()))
        exact = eigsh((root @ a @ root).tocsr(), 2, which="LA", return_eigenvectors=False)[::-1]
        np.testing.assert_allclose(record["eigenvalues"], exact, atol=1e-5)
        assert record["off_diagonal"] < 1e-6 and record["cap"] == 1_500_000_000
        assert set(record["parts"]) == {"graph", "solve", "bank", "orthogonalise"}
        assert all(part["seconds"] > 0 for part in record["parts"].values())
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert "nanoseconds a node and step" in capsys.readouterr().out


def test_memory_beyond_the_cap_is_refused(benchmark):
    with benchmark("outofcore_cap").capped(100_000_000) as cap:
        if cap.group is None:
            pytest.skip("no control group can be made here; needs root")
        assert cap.run([sys.executable, "-c", "print(len(bytearray(20_000_000)))"]) == "20000000\n"
        assert 20_000_000 < cap.peak_bytes() <= 100_000_000
        with pytest.raises(SystemExit, match="under control group"):
            cap.run([sys.executable, "-c", "bytearray(b'1') * 200_000_000"])
        group = cap.group
    assert not group.exists()


def test_without_control_groups_data_are_limited(benchmark, monkeypatch, tmp_path):
    module = benchmark("outofcore_cap")
    monkeypatch.setattr(module, "V1", tmp_path / "none")
    monkeypatch.setattr(module, "V2", tmp_path / "none")
    with module.capped(100_000_000) as cap:
        assert "RLIMIT_DATA" in cap.kind and cap.peak_bytes() is None
        assert cap.run([sys.executable, "-c", "print(1)"]) == "1\n"
        with pytest.raises(SystemExit, match="RLIMIT_DATA"):
            cap.run([sys.executable, "-c", "bytearray(b'1') * 200_000_000"])
