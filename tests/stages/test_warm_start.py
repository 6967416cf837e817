"""The option --warm-start: an earlier run's eigenvectors as the start, on the same or another grid."""

import json
import shutil

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.errors import ConfigError
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter


def run(options, out, **more):
    return run_pipeline(
        make_config({**options, "kinds": "vv", **more}), out, until="solve", reporter=Reporter(quiet=True)
    )


def bank(out):
    return Bank.open(out / "vv" / "bank")


def test_the_same_run_again_needs_no_filter(options, tmp_path):
    cold = run(options, tmp_path / "cold")
    warm = run(options, tmp_path / "warm", warm_start=cold)
    assert len(bank(warm).notes["history"]) == 1
    np.testing.assert_allclose(bank(warm).notes["eigenvalues"], bank(cold).notes["eigenvalues"], atol=1e-5)


def test_another_grid_is_resampled(options, tmp_path):
    cold = run(options, tmp_path / "cold", size="48")
    warm, plain = run(options, tmp_path / "warm", warm_start=cold), run(options, tmp_path / "plain")
    assert bank(cold).notes["grid"] != bank(warm).notes["grid"]
    np.testing.assert_allclose(bank(warm).notes["eigenvalues"], bank(plain).notes["eigenvalues"], atol=1e-4)


def test_runs_that_cannot_help_are_refused_in_words(options, tmp_path):
    with pytest.raises(ConfigError, match=r"`warm_start=.*nowhere`"):
        run(options, tmp_path / "a", warm_start=tmp_path / "nowhere")
    (tmp_path / "nowhere").mkdir()
    with pytest.raises(ConfigError, match="there are no eigenvectors of vv"):
        run(options, tmp_path / "a", warm_start=tmp_path / "nowhere")
    fewer = run(options, tmp_path / "fewer", limit=5)
    with pytest.raises(ConfigError, match="that run has 5 images, this one 7"):
        run(options, tmp_path / "b", warm_start=fewer)
    shutil.rmtree(fewer)
    assert json.loads((tmp_path / "b" / "run.json").read_text())["stages"]["solve"]["state"] != "complete"
