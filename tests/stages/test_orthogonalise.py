"""Stage orthogonalise: the exact solver's bank is published once more; all others are rotated and written."""

from pathlib import Path

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.solve import orthogonalise as rotation


def run(options, out, **more):
    return run_pipeline(make_config(options), out, reporter=Reporter(quiet=True), until="orthogonalise", **more)


def file_of(out, kind, name):
    bank = Bank.open(out / kind / name)
    return next((out / kind / name).glob(f"X.{bank.generation}.*"))


def test_exact_eigenvectors_are_stored_once(options, tmp_path, monkeypatch):
    monkeypatch.setattr(rotation, "rotate", None)  # would be called by a second pass
    out = run(options, tmp_path / "run")
    for kind in ("vv", "qk"):
        bank, ortho = Bank.open(out / kind / "bank"), Bank.open(out / kind / "ortho")
        assert file_of(out, kind, "bank").samefile(file_of(out, kind, "ortho"))
        x = ortho.view().astype(np.float64)
        np.testing.assert_allclose(x.T @ x, np.eye(x.shape[1]), atol=1e-5)
        square = np.abs(x.T @ x)
        expected = (square - np.diag(np.diag(square))).max() / np.diag(square).max()
        assert ortho.notes["off_diagonal"] == pytest.approx(expected, abs=1e-9)
        assert (x[np.abs(x).argmax(axis=0), np.arange(x.shape[1])] > 0).all()
        quotients = np.array(ortho.notes["rayleigh_quotients"])
        assert (np.diff(quotients) < 1e-6).all()
        np.testing.assert_allclose(quotients, bank.notes["eigenvalues"], atol=1e-5)


def test_a_file_system_without_hard_links_gets_a_copy(options, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    linked = run({**options, "kinds": "vv"}, tmp_path / "linked")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    copied = run({**options, "kinds": "vv"}, tmp_path / "copied")
    assert not file_of(copied, "vv", "bank").samefile(file_of(copied, "vv", "ortho"))
    assert file_of(copied, "vv", "ortho").read_bytes() == file_of(linked, "vv", "ortho").read_bytes()


@pytest.mark.parametrize("more", [{"order": "gram"}, {"bank_dtype": "bfloat16"}])
def test_other_banks_are_rotated(options, tmp_path, more):
    out = run({**options, "kinds": "vv", **more}, tmp_path / "run")
    assert not file_of(out, "vv", "bank").samefile(file_of(out, "vv", "ortho"))
    x = Bank.open(out / "vv" / "ortho").view().astype(np.float64)
    np.testing.assert_allclose(x.T @ x, np.eye(x.shape[1]), atol=0.02 if "bank_dtype" in more else 1e-5)


def test_columns_that_are_not_orthonormal_are_rotated(options, tmp_path, monkeypatch):
    monkeypatch.setattr("spectral_graph.stages.orthogonalise.ORTHONORMAL", 0.0)
    out = run({**options, "kinds": "vv"}, tmp_path / "run")
    assert not file_of(out, "vv", "bank").samefile(file_of(out, "vv", "ortho"))


def test_stage_graph_merges_the_layers_and_the_value_of_eqn_3_needs_no_second_merge(options, tmp_path):
    options = {**options, "kinds": "vv", "optimality": "value"}
    out = run_pipeline(make_config(options), tmp_path / "run", reporter=Reporter(quiet=True), until="graph")
    merged = out / "vv" / "graph.zarr" / "merged"
    assert [path.name for path in merged.iterdir() if path.is_dir()] == ["symmetric"]
    run(options, out)
    assert [path.name for path in merged.iterdir() if path.is_dir()] == ["symmetric"]
    assert Bank.open(out / "vv" / "bank").notes["optimality"]["value"] > 0
    run({**options, "normalisation": "random_walk"}, out, force="solve")
    assert sorted(path.name for path in merged.iterdir() if path.is_dir()) == ["random_walk", "symmetric"]
