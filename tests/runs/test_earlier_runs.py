"""Runs that earlier builds wrote (`tests/data/runs/`, one archive a format) open, resume and are computed on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.cli.commands import main
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.operator import merged_operator
from spectral_graph.runs.notes import solution_notes

ARCHIVES = Path(__file__).resolve().parents[1] / "data" / "runs"
RUNS = {"exact_dataset": ["--kinds", "vv,qk"], "adam_batch": ["--preset", "paper", "--steps", "20", "--kinds", "vv"]}
COMMON = ["--limit", "2", "--size", "56", "--layers", "last:1", "--channels", "3", "--kmeans-seeds", "0"]
COMMON += ["--clusters", "3", "--gallery", "1"]
GRAPH = {"exact_dataset": ["--c-intra", "3", "--c-inter", "3", "--block", "32"], "adam_batch": []}


@pytest.fixture(params=sorted(RUNS))
def earlier(request, tmp_path):
    with zipfile.ZipFile(ARCHIVES / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path / "run")
    return request.param, tmp_path / "run"


def command(name, out, *more):
    return ["build", *RUNS[name], *COMMON, *GRAPH[name], "--out", str(out), *more]


def test_the_same_command_finds_nothing_to_do(earlier, capsys):
    name, run = earlier
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "run.json"}
    assert main(command(name, run)) == 0
    assert "peak" not in capsys.readouterr().err  # which every stage that is computed ends with
    assert all(path.read_bytes() == content for path, content in before.items())


def test_later_stages_are_computed_from_earlier_ones(earlier):
    name, run = earlier
    old = Bank.open(run / "vv" / "ortho").view().copy()
    assert main(["evaluate", str(run), *command(name, run)[1:-2], "--force", "solve", "--quiet"]) == 0
    new = Bank.open(run / "vv" / "ortho").view()
    # Another processor rounds otherwise: the spans agree, not the bits.
    cosines = np.linalg.svd(np.linalg.qr(old)[0].T @ np.linalg.qr(new)[0], compute_uv=False)
    assert cosines.min() > 0.999
    config = json.loads((run / "run.json").read_text())["config"]
    assert "optimality" in config and "yardstick" not in config


def test_eigenvectors_belong_to_the_graph(earlier):
    _, run = earlier
    bank = Bank.open(run / "vv" / "bank")
    notes = solution_notes(bank)
    if notes["solver"] == "adam":
        assert notes["optimality"]["value"] <= notes["optimality"]["optimum"] + 1e-6
        return
    x = np.array(bank.view())
    product = merged_operator(GraphStore.open(run / "vv" / "graph.zarr"), "symmetric") @ x
    np.testing.assert_allclose(product, x * np.array(notes["eigenvalues"]), atol=1e-5)


def test_info_reads_them(earlier, capsys):
    _, run = earlier
    assert main(["info", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["info", str(run)]) == 0
