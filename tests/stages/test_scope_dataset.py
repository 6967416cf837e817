"""Whole runs whose graph is built over all images at once."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from crashing import Crash, crash_after
from scipy.sparse.linalg import eigsh

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph import neighbours
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.lists import ListFiles, Transposed
from spectral_graph.graph.neighbours import find
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs.graph_attributes import graph_facts

LAYERS = ("blocks.2", "blocks.5")


@pytest.fixture
def dataset_options(options):
    """Seven images of 25 nodes, two images a block."""
    return {**options, "scope": "dataset", "neighbours": "exact", "block": 50, "sharpen": 2.0}


def run(options, out, **more):
    return run_pipeline(make_config(options), out, reporter=Reporter(quiet=True), **more)


def dense_of(out, kind, prefix):
    store, total = GraphStore.open(out / kind / "graph.zarr"), np.zeros((175, 175))
    for name in store.names(prefix):
        block = store.read(name)
        total[np.repeat(block.rows, np.diff(block.indptr)), block.columns[block.indices]] += block.values
    return total


def brute_force(out, kind, layer, c=4, threshold=0.1, sharpen=2.0):
    """The affinity of one layer from the stored features, as the definition reads, in float64."""
    tensors = {"vv": "vv", "qk": "qk"}[kind]
    store, sides = FeatureStore.open(out / "features.zarr"), []
    for tensor in tensors:
        rows = store.read(layer, tensor, range(7)).astype(np.float64).reshape(175, -1)
        rows -= store.mean(layer, tensor, range(7))
        sides.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    s = sides[0] @ sides[1].T
    image, b = np.arange(175) // 25, np.zeros((175, 175))
    for i in range(175):
        for pool in (image == image[i], image != image[i]):
            found = [j for j in np.flatnonzero(pool) if j != i and s[i, j] >= threshold]
            for j in sorted(found, key=lambda j, i=i: (-s[i, j], j))[:c]:
                b[i, j] = s[i, j] ** sharpen
    return (b + b.T) / 2, (b > 0).sum(axis=0)


def test_graph_merged_operator_and_eigenvectors_equal_brute_force(dataset_options, tmp_path):
    out = run({**dataset_options, "tol": 1e-5}, tmp_path / "run")
    for kind in ("vv", "qk"):
        store, merged = GraphStore.open(out / kind / "graph.zarr"), np.zeros((175, 175))
        assert len(store.names(f"blocks/{LAYERS[0]}")) == 4
        chosen = []
        for layer in LAYERS:
            a, in_degree = brute_force(out, kind, layer)
            np.testing.assert_allclose(dense_of(out, kind, f"blocks/{layer}"), a, atol=1e-5)
            degree = a.sum(axis=1)
            np.testing.assert_allclose(store.read_degrees(layer), degree, atol=1e-4)
            root = np.divide(1, np.sqrt(degree), out=np.zeros(175), where=degree > 0)
            merged += root[:, None] * a * root / 2
            facts = store.attributes["facts"]["layers"][layer]
            assert facts["largest_in_degree"] == in_degree.max()
            assert facts["stored_edges"] == np.count_nonzero(a)
            assert facts["isolated_nodes"] == (degree == 0).sum()
            chosen.append(in_degree)
        every = store.attributes["facts"]["all"]
        for q in ("0.5", "0.9", "0.99"):
            expected = np.quantile(np.concatenate(chosen), float(q), method="inverted_cdf")
            assert every["in_degree_quantiles"][q] == expected
        np.testing.assert_allclose(dense_of(out, kind, "merged/symmetric"), merged, atol=1e-5)
        values, vectors = eigsh(merged, 6, which="LA")
        np.testing.assert_allclose(Bank.open(out / kind / "bank").notes["eigenvalues"], values[::-1], atol=1e-4)
        x = np.array(Bank.open(out / kind / "ortho").view())
        # Only the space of all columns is determined where eigenvalues are near to each other.
        overlap = np.linalg.svd(vectors.T @ x, compute_uv=False)
        gap = values[0] - eigsh(merged, 7, which="LA")[0][0]
        if gap > 0.01:
            np.testing.assert_allclose(overlap, 1, atol=1e-3)
    found = json.loads((out / "metrics.json").read_text())
    assert found["graph"]["vv"]["all"]["recall"] == 1
    assert "scope dataset" in (out / "report" / "index.html").read_text()


def equal_graphs(first, second, kind="vv"):
    for layer in LAYERS:
        np.testing.assert_array_equal(*(dense_of(out, kind, f"blocks/{layer}") for out in (first, second)))
    assert all_facts(first, kind) == all_facts(second, kind)


def all_facts(out, kind="vv"):
    facts = GraphStore.open(out / kind / "graph.zarr").attributes["facts"]["all"]
    return {name: facts[name] for name in facts if name not in ("blocks", "mean_degree", "recall_asked")}


def copies(options, tmp_path, *names):
    """Return folders with the same extracted features."""
    first = run(options, tmp_path / names[0], until="extract")
    for name in names[1:]:
        shutil.copytree(first, tmp_path / name)
    return [tmp_path / name for name in names]


def test_batches_blocks_and_threads_make_the_same_graph(dataset_options, tmp_path):
    options = {**dataset_options, "kinds": "vv"}
    whole, batch, blocks, threads = copies(options, tmp_path, "whole", "batch", "blocks", "threads")
    run(options, whole, until="graph")
    run({**options, "block": 25}, blocks, until="graph")
    equal_graphs(whole, blocks)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 3)
        run(options, threads, until="graph")
    finally:
        torch.set_num_threads(before)
    equal_graphs(whole, threads)
    run({**options, "scope": "batch", "batch": 7}, batch, until="graph")
    store, total = GraphStore.open(batch / "vv" / "graph.zarr"), np.zeros((175, 175))
    block = store.read(f"blocks/{LAYERS[0]}/000000")
    total[np.repeat(block.rows, np.diff(block.indptr)), block.indices] = block.values
    np.testing.assert_allclose(dense_of(whole, "vv", f"blocks/{LAYERS[0]}"), total, atol=1e-6)
    assert all_facts(whole) == all_facts(batch)


def test_default_options_make_the_same_graph_with_any_number_of_threads(dataset_options, tmp_path):
    options = {**dataset_options, "kinds": "qk", "neighbours": "cells", "hubs": "sinkhorn"}
    first, second = copies(options, tmp_path, "first", "second")
    before = torch.get_num_threads()
    try:
        for out, threads in ((first, 1), (second, 3)):
            torch.set_num_threads(threads)
            run(options, out, until="graph")
    finally:
        torch.set_num_threads(before)
    equal_graphs(first, second, "qk")


@pytest.mark.parametrize(("hubs", "list_files"), [("cap", 6), ("sinkhorn", 2)])
def test_a_graph_interrupted_everywhere_is_the_same(dataset_options, tmp_path, hubs, list_files):
    options = {**dataset_options, "kinds": "vv", "hubs": hubs}
    whole, broken = copies(options, tmp_path, "whole", "broken")
    run(options, whole, until="graph")

    points = [
        (find, "SearchProblem", 0),
        (ListFiles, "write", 1),
        (Transposed, "read", 1),
        (ListFiles, "write", list_files),
        (GraphStore, "write", 2),
        (GraphStore, "write", 3),
        (GraphStore, "set_attributes", 0),
    ]
    for owner, name, calls in points:
        with crash_after(owner, name, calls), pytest.raises(Crash):
            run(options, broken, until="graph")
    run(options, broken, until="graph")
    equal_graphs(whole, broken)
    assert not (broken / "vv" / "graph.zarr" / ".work").exists()


def test_a_finished_search_is_not_repeated(dataset_options, tmp_path, monkeypatch):
    options = {**dataset_options, "kinds": "vv", "layers": "2"}
    calls = []
    original = neighbours.find_neighbours

    def counted(*args, **kwargs):
        calls.append(kwargs["work"])
        return original(*args, **kwargs)

    monkeypatch.setattr("spectral_graph.graph.layer_lists.find_neighbours", counted)
    write = GraphStore.write
    monkeypatch.setattr(GraphStore, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(options, tmp_path / "run", until="graph")
    monkeypatch.setattr(GraphStore, "write", write)
    run(options, tmp_path / "run", until="graph")
    assert len(calls) == 1


def test_zero_vectors_are_isolated_and_counted(dataset_options, tmp_path):
    options = {**dataset_options, "kinds": "vv", "layers": "2", "centre": False}
    out = run(options, tmp_path / "run", until="extract")
    store = FeatureStore.open(out / "features.zarr")
    store._group["layers/blocks.2/v"][3] = 0
    run(options, out, until="graph")
    facts = GraphStore.open(out / "vv" / "graph.zarr")
    assert facts.attributes["facts"]["all"]["isolated_nodes"] == 25
    assert facts.attributes["facts"]["all"]["rows_with_fewer_neighbours"] >= 25
    assert facts.read("blocks/blocks.2/000000").facts["zero_rows"] == 25


def test_a_single_image_has_intra_neighbours_only(dataset_options, tmp_path):
    out = run({**dataset_options, "limit": 1, "kinds": "vv"}, tmp_path / "run", until="graph")
    facts = GraphStore.open(out / "vv" / "graph.zarr").attributes["facts"]["all"]
    assert facts["nodes"] == 25
    assert facts["components"] < 25


def test_what_cannot_be_done_is_said_in_words(dataset_options, tmp_path):
    with pytest.raises(ConfigError, match=r"`solver=adam`.*`scope=dataset`"):
        make_config({**dataset_options, "solver": "adam"})
    with pytest.raises(ConfigError, match="`recall=1`"):
        make_config({**dataset_options, "recall": 1})
    with pytest.raises(GraphError, match=r"c_inter.*151.*150"):
        run({**dataset_options, "c_inter": 151}, tmp_path / "run", until="graph")


def test_nan_features_are_refused_and_named(dataset_options, tmp_path):
    out = run(dataset_options, tmp_path / "run", until="extract")
    FeatureStore.open(out / "features.zarr")._group["layers/blocks.2/v"][3, 4, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        run(dataset_options, out, until="graph")


@pytest.mark.parametrize(
    ("method", "reached", "noted"), [("cells", 0.5, True), ("faiss-ivf", 0.5, True), ("cells", 0.96, False)]
)
def test_a_recall_below_the_one_asked_for_is_noted(dataset_options, tmp_path, monkeypatch, method, reached, noted):
    name = "search_cells" if method == "cells" else "search_faiss"
    real = getattr(find, name)

    def losing(*arguments):
        lists, facts = real(*arguments)
        return lists, facts | {"recall": reached, "recall_error": 0.02, "recall_queries": 128}

    monkeypatch.setattr(find, name, losing)
    out = tmp_path / "run"
    config = make_config({**dataset_options, "neighbours": method})
    for again in (False, True):  # the second command finds a graph that is built, without its facts
        said = io.StringIO()
        run_pipeline(config, out, until="graph", reporter=Reporter(said))
        lines = [line for line in said.getvalue().splitlines() if "graph vv" in line and "recall" in line]
        assert len(lines) == (len(LAYERS) if noted and not again else 0)
        for layer, line in zip(LAYERS, lines, strict=False):
            assert f"graph vv {layer}" in line and "0.5" in line and "0.95" in line
    facts = graph_facts(GraphStore.open(out / "vv" / "graph.zarr"))
    for found in (facts["all"], *facts["layers"].values()):
        assert (found["recall"], found["recall_asked"], found["recall_error"]) == (reached, 0.95, 0.02)
        assert found["recall_queries"] == 128
    if noted and method == "cells":
        run_pipeline(config, out, reporter=Reporter(quiet=True))
        shown = (out / "report" / "index.html").read_text(encoding="utf-8")
        assert all(f"V-V, {layer}: the search found {reached:.3f}" in shown for layer in LAYERS)
