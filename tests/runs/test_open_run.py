"""sg.run and sg.open_run: what a run holds, from Python."""

import json
import shutil

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

import spectral_graph as sg
from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError, FormatError, MissingDataError
from spectral_graph.graph.blocks import GraphStore


@pytest.fixture(scope="module")
def built(module_options, tmp_path_factory):
    return sg.run(out=tmp_path_factory.mktemp("run"), until="evaluate", quiet=True, **module_options)


def test_images_and_options(built):
    assert len(built.images) == 7 and built.images[0].id
    assert built.grid == (5, 5) and built.kinds == ("vv", "qk")
    assert built.config["dataset"] == "folder" and str(built.path) in repr(built) and "evaluate" in repr(built)


def test_graph_and_operator(built):
    graph, n = built.graph("vv"), 175
    assert graph.layers == built.layers and graph.facts["all"]["nodes"] == n
    layer = graph.layers[-1]
    affinity = graph.affinity(layer)
    dense = np.zeros((n, n))
    store = GraphStore.open(built.path / "vv" / "graph.zarr")
    for name in store.names(f"blocks/{layer}"):
        block = store.read(name)
        for row in range(len(block.rows)):
            part = slice(block.indptr[row], block.indptr[row + 1])
            dense[block.rows[row], block.column_ids[block.indices[part]]] += block.values[part]
    np.testing.assert_allclose(affinity.toarray(), dense / store.attributes["rounds"], atol=1e-6)
    x = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    np.testing.assert_allclose(graph.operator(layer) @ x, affinity @ x, atol=1e-5)
    operator = built.operator("vv")
    matrix = operator.to_scipy()
    np.testing.assert_allclose(operator @ x, matrix @ x, atol=1e-5)
    np.testing.assert_array_equal(matrix.toarray(), matrix.toarray().T)
    values = eigsh(operator, 4, which="LA", return_eigenvectors=False)[::-1]
    np.testing.assert_allclose(built.eigenvalues("vv")[:4], values, atol=1e-3)


def test_eigenvectors_and_regions(built):
    x = built.eigenvectors("qk")
    assert x.shape == (175, 6) and not x.flags.writeable
    np.testing.assert_array_equal(x, Bank.open(built.path / "qk" / "ortho").view())
    identity = built.images[2].id
    np.testing.assert_array_equal(built.eigenvectors("qk", identity), x[50:75].reshape(5, 5, 6))
    np.testing.assert_array_equal(built.eigenvectors("qk", -5), x[50:75].reshape(5, 5, 6))
    regions = built.regions("vv")
    assert regions.shape == (7, 5, 5) and regions.dtype == np.uint16
    np.testing.assert_array_equal(built.regions("vv", identity), regions[2])
    assert built.regions("final").shape == (7, 5, 5)
    assert built.metrics["methods"]["vv"] == json.loads((built.path / "metrics.json").read_text())["methods"]["vv"]


def test_a_second_call_finds_nothing_to_do_and_open_run_takes_a_str(built, module_options):
    before = {path: path.stat().st_mtime_ns for path in built.path.rglob("*.f32")}
    again = sg.run(out=str(built.path), until="evaluate", quiet=True, **module_options)
    assert before == {path: path.stat().st_mtime_ns for path in again.path.rglob("*.f32")}
    assert sg.open_run(str(built.path)).images == built.images


def test_what_is_not_there_is_named(built, tmp_path):
    for call, words in (
        (lambda: built.graph("kk"), "`kind='kk'`.*vv, qk"),
        (lambda: built.eigenvectors("v"), "`kind='v'`"),
        (lambda: built.regions("kk"), "`method='kk'`.*final"),
        (lambda: built.regions("vv", seed=99), "`seed=99`"),
        (lambda: built.eigenvectors("vv", "nothing"), "`image='nothing'`"),
        (lambda: built.eigenvectors("vv", 7), "`image=7`.*7 images"),
        (lambda: built.regions("vv", -8), "`image=-8`"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()
    with pytest.raises(FormatError, match="no run"):
        sg.open_run(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(built.path, copy)
    manifest = json.loads((copy / "run.json").read_text())
    for name in ("graph", "solve", "orthogonalise", "segment", "evaluate"):
        manifest["stages"][name] = {"state": "open"}
    (copy / "run.json").write_text(json.dumps(manifest))
    unfinished = sg.open_run(copy)
    assert len(unfinished.images) == 7
    for call, stage in (
        (lambda: unfinished.graph("vv"), "graph"),
        (lambda: unfinished.operator("vv"), "graph"),
        (lambda: unfinished.eigenvectors("vv"), "orthogonalise"),
        (lambda: unfinished.regions("vv"), "segment"),
        (lambda: unfinished.metrics, "evaluate"),
    ):
        with pytest.raises(MissingDataError, match=f"spectral-graph {stage} "):
            call()


def test_unknown_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="`colour="):
        sg.run("folder", tmp_path / "run", colour=1)
    assert not (tmp_path / "run").exists()
