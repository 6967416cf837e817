"""The benchmark of the whole pipeline runs at a tiny size; its graph and its scores are those of brute force."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from spectral_graph.data import open_dataset
from spectral_graph.embed import build_graph
from spectral_graph.features.store import FeatureStore
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.vectors import ready_rows

GRID, LAYERS, WIDTH = (4, 5), ("blocks.0", "blocks.1"), 16


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run over the built-in sample whose features are a few directions and noise."""
    path, generator = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    data = open_dataset("coco", split="sample")
    records, nodes = data.records[:6], GRID[0] * GRID[1]
    sizes = [data.read_image(record).size for record in records]
    images = tuple(
        KeptImage(r.id, i, (0, 0, *size), size[::-1]) for i, (r, size) in enumerate(zip(records, sizes, strict=True))
    )
    model = {"name": "directions and noise", "weights": {}, "note": ""}
    ImageTable(GRID, (32, 40), LAYERS, images, (), model).save(path / "images.json")
    config = {"dataset": "coco", "root": None, "split": "sample", "labels": "coarse"}
    (path / "run.json").write_text(json.dumps({"config": config}))
    store = FeatureStore.create(path / "features.zarr", 6, GRID, dict.fromkeys(LAYERS, WIDTH), ("q", "k", "v"), 8)
    centres = generator.standard_normal((4, WIDTH))
    for slot in range(6):
        parts = {
            name: {t: centres[np.arange(nodes) % 4] + generator.standard_normal((nodes, WIDTH)) for t in "qkv"}
            for name in LAYERS
        }
        store.write(slot, parts, np.zeros((nodes, 8)))
    return path


def brute_force(features, c_intra, c_inter, threshold):
    """Return the merged operator of V-V, dense, from all cosines."""
    image = np.repeat(np.arange(len(features.image_ptr) - 1), np.diff(features.image_ptr))
    total = np.zeros((len(image), len(image)))
    for (rows,) in features.layers:
        x = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        cosines, chosen = x @ x.T, np.zeros(total.shape, bool)
        np.fill_diagonal(cosines, -1)
        same = image[:, None] == image
        for mask, count in ((same, c_intra), (~same, c_inter)):
            order = np.argsort(np.where(mask, -cosines, 2), axis=1)[:, :count]
            np.put_along_axis(chosen, order, True, axis=1)
        b = np.where(chosen & (cosines >= threshold), cosines, 0)
        a = (b + b.T) / 2
        degree = a.sum(axis=1)
        root = np.divide(1, np.sqrt(degree), out=np.zeros(len(a)), where=degree > 0)
        total += root[:, None] * a * root
    return total / len(features.layers)


@pytest.mark.parametrize("block", [20, 1000])
def test_the_operator_is_that_of_all_cosines(benchmark, run, tmp_path, block):
    graph = benchmark("data_set_graph")
    features = graph.features_of(run, "vv")
    config = graph.options_of("10+10").model_copy(update={"neighbours": "exact", "block": block})
    operator = build_graph(list(features.layers), features.image_ptr, config, tmp_path).operator
    expected = brute_force(features, 10, 10, config.threshold)
    np.testing.assert_allclose(operator @ np.eye(features.nodes, dtype=np.float32), expected, atol=2e-6)


def test_ours_are_the_dense_eigenvectors(benchmark, run):
    pipeline, graph = benchmark("pipeline"), benchmark("data_set_graph")
    features = graph.features_of(run, "vv")
    config = graph.options_of("10+10").model_copy(update={"neighbours": "exact", "channels": 4, "tol": 1e-5})
    steps = pipeline.Steps()
    vectors, values = pipeline.ours(features, config, steps)
    exact, basis = np.linalg.eigh(brute_force(features, 10, 10, config.threshold))
    np.testing.assert_allclose(values, exact[::-1][:4], atol=1e-5)
    assert np.linalg.svd(basis[:, ::-1][:, :4].T @ vectors, compute_uv=False).min() > 1 - 1e-4
    assert {"search", "merge", "eigenvectors"} <= set(steps.seconds)


def test_queries_and_keys_are_both_read(benchmark, run):
    graph = benchmark("data_set_graph")
    features = graph.features_of(run, "qk", layers=1)
    assert [part.shape for part in features.layers[0]] == [(120, WIDTH), (120, WIDTH)]
    store = FeatureStore.open(run / "features.zarr")
    np.testing.assert_array_equal(features.layers[0][1][20:40], store.read("blocks.1", "k", [1])[0])
    assert features.first_images(2).layers[0][0].shape == (40, WIDTH) and features.first_images(2).nodes == 40


def test_the_mean_is_that_of_float64():
    rows = np.random.default_rng(0).standard_normal((9000, 3)).astype(np.float16)
    np.testing.assert_allclose(ready_rows(rows, True, "rows")[1], rows.astype(np.float64).mean(0), atol=1e-7)


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
def test_it_prints_a_table_and_writes_json(benchmark, run, tmp_path, capsys):
    pytest.importorskip("faiss")
    options = ["--run", str(run), "--channels", "4", "--rounds", "1", "--graphs", "10+10", "--peers", "sklearn"]
    files = ["--json", str(tmp_path / "out.json")]
    benchmark("pipeline").main([*options, "--seeds", "0", "--clusters", "3", "--budget", "60", *files])
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["method"] for row in rows] == ["ours 10+10", "SpectralEmbedding, N = 120", "ours 10+10, N = 120"]
    # Equal features give equal scores.
    assert rows[0]["weighted"] == rows[2]["weighted"] and rows[0]["plain"] == rows[2]["plain"]
    for row in rows:
        assert row["seconds"] > 0 and 0 < row["plain"]["miou_hungarian"] <= row["plain"]["accuracy_hungarian"] <= 1
    assert "| ours 10+10 | 120 |" in capsys.readouterr().out


def test_scores_are_those_of_the_pixels(benchmark, run):
    """Columns that tell pairs of images apart: every image is one cluster, so pixels can be counted by hand."""
    judge = benchmark("pipeline").Judge(run, 3, benchmark("data_set_graph").options_of("best"))
    nodes = GRID[0] * GRID[1]
    rows = np.eye(3, dtype=np.float32)[np.arange(6 * nodes) // (2 * nodes)]
    scores = judge.scores((rows, np.ones(3)), False, (0, 1))
    counts = np.zeros((3, 27), np.int64)
    data = open_dataset("coco", split="sample")
    for image in range(6):
        label = data.read_label(data.records[image])
        counts[image // 2] += np.bincount(label[(label >= 0) & (label < 27)], minlength=27)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    assert scores["accuracy_hungarian"] == pytest.approx(matched / counts.sum())
    union, right = np.zeros(27), np.zeros(27)
    best = counts.argmax(axis=1)
    for cluster, name in enumerate(best):
        right[name] += counts[cluster, name]
        union[name] += counts[cluster].sum()
    union += counts.sum(axis=0) - right
    assert scores["miou_greedy"] == pytest.approx((right[union > 0] / union[union > 0]).mean())
