"""The benchmarks of solver and whole pipeline run at a tiny size, and what they say of each solver is right."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

CHANNELS = 6


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def matrix(benchmark):
    return benchmark("solve").neighbours_in_a_square(400, per_row=8).astype(np.float32)


def test_all_solvers_agree_with_the_dense_eigenvalues(benchmark, matrix, tmp_path):
    solve = benchmark("solve")
    operator = solve.merged_operator(solve.stored(matrix, tmp_path / "g"), "symmetric")
    values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    values, vectors = values[::-1][:CHANNELS], vectors[:, ::-1][:, :CHANNELS]
    timed = solve.compare(solve.solvers(matrix, operator, CHANNELS, tmp_path / "w"), matrix, 1e-4, 1)
    rows = solve.records(timed, matrix, values, vectors)
    assert [row["solver"] for row in rows] == ["ours", *solve.PEERS]
    for row in rows:
        assert row["reaches_goal"] and row["residual"] <= 1.1e-4
        assert row["eigenvalue_error"] < 1e-5 and row["angle"] < 0.05


def test_an_error_is_seen(benchmark, matrix):
    solve = benchmark("solve")
    values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    values, vectors = values[::-1][:CHANNELS], vectors[:, ::-1][:, : CHANNELS + 1]
    wrong = vectors[:, [0, 1, 2, 3, 4, 6]]
    timed = {"ours": solve.Timed(1e-3, True, [2.0, 2.0], (values + 1e-3, wrong))}
    timed["other"] = solve.Timed(1e-3, True, [4.0, 8.0], (values[::-1], vectors[:, CHANNELS - 1 :: -1]))
    ours, other = solve.records(timed, matrix, values, vectors[:, :CHANNELS])
    assert ours["eigenvalue_error"] == pytest.approx(1e-3) and ours["angle"] == pytest.approx(np.pi / 2)
    assert other["eigenvalue_error"] == 0 and other["angle"] < 1e-6
    assert other["ours_over_it"] == pytest.approx(0.375)


def test_the_loosest_tolerance_that_reaches_the_goal_is_taken(benchmark, matrix):
    solve = benchmark("solve")
    values, vectors = np.linalg.eigh(matrix.toarray().astype(np.float64))
    calls = []

    def solver(share):
        def call(tol):
            calls.append(tol)
            away = vectors[:, [-1]] + vectors[:, [0]] * tol * share / (values[-1] - values[0])
            return values[-1:], away

        return call

    assert solve.tolerance(solver(0.4), matrix, 1e-3) == (2e-3, True)
    assert solve.tolerance(solver(3.0), matrix, 1e-3) == (2.5e-4, True)
    calls.clear()
    assert solve.tolerance(solver(100.0), matrix, 1e-3) == (1.25e-4, False)
    assert len(calls) == 4


def test_it_prints_a_table_and_writes_json(benchmark, matrix, tmp_path, capsys):
    sparse.save_npz(tmp_path / "s.npz", matrix)
    options = ["--operator", str(tmp_path / "s.npz"), "--channels", "3", "--pairs", "1", "--peers", "scipy eigsh"]
    benchmark("solve").main([*options, "--json", str(tmp_path / "out.json")])
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["solver"] for row in rows] == ["ours", "scipy eigsh"] and all(row["seconds"] > 0 for row in rows)
    assert "| 3 | scipy eigsh |" in capsys.readouterr().out


def test_a_run_without_an_operator_is_told(benchmark, tmp_path):
    solve = benchmark("solve")
    solve.GraphStore.create(tmp_path / "vv" / "graph.zarr", {"nodes": 3, "rounds": 1})
    with pytest.raises(SystemExit, match="no merged operator of vv, symmetric; run: spectral-graph solve"):
        solve.main(["--run", str(tmp_path)])
