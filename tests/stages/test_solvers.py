"""Both solvers through whole runs: presets, optimality, dtype of the bank, damage."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.errors import ConfigError, FormatError
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs.facts import run_facts

SMALL = {"steps": 30, "channels": 6, "c_intra": 4, "c_inter": 4, "batch": 4, "kmeans_init": 1, "eigenvectors": 4}


def run(options, out, preset="best", **more):
    return run_pipeline(make_config(options, preset), out, preset=preset, reporter=Reporter(quiet=True), **more)


def solution_of(out):
    return run_facts(out)["affinities"][0]["solution"]


def test_released_preset_exports_the_averaged_probabilities(options, tmp_path):
    out = run({**options, **SMALL, "kinds": "vv"}, tmp_path / "run", "released")
    bank = Bank.open(out / "vv" / "bank")
    x = bank.read(0, bank.n_images)
    np.testing.assert_allclose(x.sum(axis=1), 1, atol=1e-5)
    assert x.min() > 0
    assert bank.notes["objective"] == "released" and bank.notes["ema"] == 0.99
    assert [entry["step"] for entry in bank.notes["history"]] == [5, 10, 15, 20, 25, 30]
    ortho = Bank.open(out / "vv" / "ortho")
    assert ortho.notes["order"] == "gram"
    u, s, _ = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(ortho.view()), np.abs(u * s), atol=1e-4)
    assert run_facts(out)["preset"] == "released"
    page = (out / "report" / "index.html").read_text()
    terms = ("loss (as released)", "eigenvalue term", "orthogonality term", "gradient norm")
    for words in (*terms, "adam, objective as released, average 0.99", "Value of Eqn. 3"):
        assert words in page
    assert json.loads((out / "metrics.json").read_text())["preset"] == "released"


def test_released_numbers_are_those_of_the_script():
    config = make_config({}, "released")
    assert (config.c_intra, config.c_inter, config.threshold, config.channels, config.batch) == (50, 50, 0.1, 100, 40)
    assert (config.learning_rate, config.inner_steps, config.ema, config.steps) == (1e-2, 5, 0.99, 2100 * 5)
    assert (config.objective, config.sharpen, config.centre, config.order) == ("released", 1, False, "auto")
    with pytest.raises(ConfigError, match="`ema="):
        make_config({"ema": 1.0})


@pytest.mark.parametrize("solver", ["chebyshev", "adam"])
def test_both_solvers_are_measured_by_eqn_3(options, tmp_path, solver):
    options |= {"solver": solver, "steps": 40, "normalisation": "random_walk", "kinds": "vv", "tol": 1e-4}
    out = run({**options, "optimality": "angles"}, tmp_path / "run", until="solve")
    measured = Bank.open(out / "vv" / "bank").notes["optimality"]
    if solver == "chebyshev":
        assert measured["value"] == pytest.approx(measured["optimum"], abs=1e-6)
        assert measured["angles"] is None
        largest = max(Bank.open(out / "vv" / "bank").notes["residuals"])
        assert largest <= 1e-4 and solution_of(out)["largest_residual"] == largest
    else:
        assert measured["value"] < measured["optimum"]
        assert 0 < measured["overlap"] < 1 and len(measured["angles"]) == 6
        assert solution_of(out)["optimum"] == measured["optimum"] and solution_of(out)["value"] == measured["value"]


def test_normalised_cut_is_compared_with_the_exact_solution_of_eqn_3(options, tmp_path):
    out = run({**options, "kinds": "vv"}, tmp_path / "run", until="solve")
    measured = Bank.open(out / "vv" / "bank").notes["optimality"]
    assert measured["value"] < measured["optimum"] and measured["overlap"] > 0.5
    out = run({**options, "kinds": "vv", "optimality": "none"}, tmp_path / "none", until="orthogonalise")
    assert "optimality" not in Bank.open(out / "vv" / "bank").notes
    assert not (out / "vv" / "graph.zarr" / "merged" / "random_walk").exists()


def test_a_bfloat16_bank_is_half_the_size_and_near(options, tmp_path):
    options |= {"kinds": "vv", "optimality": "value"}
    wide = run(options, tmp_path / "wide", until="orthogonalise")
    half = run({**options, "bank_dtype": "bfloat16"}, tmp_path / "half", until="orthogonalise")
    for name in ("bank", "ortho"):
        a, b = Bank.open(wide / "vv" / name), Bank.open(half / "vv" / name)
        size = sum(file.stat().st_size for file in (half / "vv" / name).glob("X.*"))
        assert b.dtype == "bfloat16" and size == a.shape[0] * a.shape[1] * 2
    x, y = (Bank.open(out / "vv" / "bank").read(0, 7) for out in (wide, half))
    assert (np.abs(x - y) <= 2**-8 * np.abs(x) + 1e-30).all()
    assert 0 < Bank.open(half / "vv" / "ortho").notes["off_diagonal"] < 2**-8
    bank = run_facts(half)["affinities"][0]["bank"]
    assert (bank["nodes"], bank["columns"], bank["dtype"]) == (175, 6, "bfloat16")


@pytest.mark.parametrize(("part", "damage"), [("bank", "flip"), ("ortho", "truncate")])
def test_a_damaged_bank_is_named_and_the_named_cure_works(options, tmp_path, part, damage):
    options |= {"kinds": "vv"}
    out = run(options, tmp_path / "run", until="orthogonalise")
    before = Bank.open(out / "vv" / "ortho").read(0, 7)
    file = out / "vv" / part / "X.1.f32"
    if damage == "flip":
        raw = bytearray(file.read_bytes())
        raw[1300] ^= 8
        file.write_bytes(raw)
    else:
        os.truncate(file, 1000)
    if part == "bank":
        (out / "vv" / "ortho" / "bank.json").unlink()
    manifest = json.loads((out / "run.json").read_text())
    manifest["stages"]["orthogonalise"]["state"] = "running" if part == "bank" else "complete"
    (out / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=r"X\.1\.f32 .*`force=solve`$"):
        run(options, out, until="segment")  # both names are of one file
    run(options, out, until="orthogonalise", force="solve")
    np.testing.assert_array_equal(Bank.open(out / "vv" / "ortho").read(0, 7), before)
    assert not (out / "vv" / "work").exists()


KILLED = """
import sys, os, signal, threading, time
from spectral_graph.cli.commands import main
delay = float(sys.argv.pop(1))
def kill():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)
import spectral_graph.solve.adam, spectral_graph.solve.passes, spectral_graph.stages.solve
spectral_graph.solve.adam.SECONDS_BETWEEN_CHECKPOINTS = 0.01
spectral_graph.solve.passes.SECONDS_BETWEEN_SAVES = 0.0
threading.Thread(target=kill, daemon=True).start()
main()
"""


def test_killed_in_solve_and_rotate_ends_bit_identical(options, tmp_path):
    options |= {"kinds": "vv", "solver": "adam", "objective": "released", "ema": 0.9, "steps": 100, "inner_steps": 2}
    options["optimality"] = "value"
    whole = run(options, tmp_path / "whole", until="orthogonalise")
    out = tmp_path / "killed"
    run(options, out, until="graph")
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = ["orthogonalise", str(out), *flags, "--quiet"]
    generator = np.random.default_rng(1)
    killed = 0
    for _ in range(2):
        delay = str(generator.uniform(0.01, 0.5))
        done = subprocess.run([sys.executable, "-c", KILLED, delay, *command], stderr=subprocess.PIPE)
        killed += done.returncode == -9
        assert done.returncode in (0, -9), done.stderr.decode()
    assert killed
    run(options, out, until="orthogonalise")
    a, b = Bank.open(whole / "vv" / "ortho"), Bank.open(out / "vv" / "ortho")
    np.testing.assert_array_equal(a.view(), b.view())
    assert a.notes == b.notes
