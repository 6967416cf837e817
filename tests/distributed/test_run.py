"""Whole runs under `torchrun`: the result of one process, also after processes were killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from crashing import Crash, crash_after
from scipy.linalg import subspace_angles
from shared_work import in_processes, result_of, with_environment

from spectral_graph.bank import Bank
from spectral_graph.config import make_config
from spectral_graph.distributed.comm import ONE_PROCESS
from spectral_graph.errors import ConfigError, ImageError, LostProcessError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs.directory import RunDirectory
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.segment.store import RegionStore

CHILDREN = Path("/proc/self/task")
needs_children = pytest.mark.skipif(not CHILDREN.is_dir(), reason="finds the processes of torchrun in /proc (Linux)")


@pytest.fixture
def small(options):
    return {**options, "kinds": "vv", "kmeans_seeds": "0", "optimality": "none", "tol": 1e-5}


def alone(options, out, until="segment"):
    return run_pipeline(make_config(options), out, until=until, reporter=Reporter(quiet=True))


def torchrun(options, out, restarts):
    """Start `torchrun` with two processes, up to stage segment, and return it; its output goes to out.log."""
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        f"--max-restarts={restarts}",
        "--standalone",
    ]
    command = [sys.executable, *launch, "-m", "spectral_graph.cli", "segment", str(out), *flags]
    with Path(f"{out}.log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(process, out):
    try:
        code = process.wait(120)
    finally:
        process.kill()
    return code, Path(f"{out}.log").read_text()


def assert_same(one, other):
    """The graphs are the same to the byte; the banks within 1e-4; every node is in the same region."""
    a, b = (sorted((out / "vv" / "graph.zarr" / "blocks").rglob("*")) for out in (one, other))
    assert [p.relative_to(one) for p in a] == [p.relative_to(other) for p in b]
    assert all(p.read_bytes() == q.read_bytes() for p, q in zip(a, b, strict=True) if p.is_file())
    facts = [GraphStore.open(out / "vv" / "graph.zarr").attributes["facts"] for out in (one, other)]
    assert facts[0] == facts[1]
    assert ImageTable.load(one / "images.json") == ImageTable.load(other / "images.json")
    for name in ("bank", "ortho"):
        x, y = (np.array(Bank.open(out / "vv" / name).view(), np.float64) for out in (one, other))
        assert subspace_angles(x, y).max() < 1e-4
    np.testing.assert_allclose(x, y, atol=1e-4)
    first, second = (RegionStore.open(out / "regions.zarr") for out in (one, other))
    for image in range(7):
        np.testing.assert_array_equal(first.read("vv", 0, image), second.read("vv", 0, image))


def workers_of(process):
    """Return the process ids of the workers of `torchrun` by rank."""
    found = {}
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            lines = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found |= {int(line[5:]): int(child) for line in lines if line.startswith(b"RANK=")}
    return found


def test_two_processes_give_the_result_of_one_in_scope_batch(small, tmp_path):
    one, out = alone(small, tmp_path / "one"), tmp_path / "two"
    result_of(with_environment(2, alone, small, out))
    assert_same(one, out)
    stages = json.loads((out / "run.json").read_text())["stages"]
    assert stages["solve"]["processes"] == 2 and stages["solve"]["sent_bytes"] > 0
    assert not list(out.rglob("rank-*")) and not (out / "extract").exists()


def test_two_processes_give_the_result_of_one_with_adam(small, tmp_path):
    small |= {"solver": "adam", "steps": 30, "optimality": "angles"}
    one, out = alone(small, tmp_path / "one"), tmp_path / "two"
    result_of(with_environment(2, alone, small, out))
    assert_same(one, out)
    a, b = (Bank.open(run / "vv" / "bank").notes["optimality"] for run in (one, out))
    np.testing.assert_allclose(a["angles"], b["angles"], atol=1e-2)
    assert a["value"] == pytest.approx(b["value"], abs=1e-6)


def interrupted(options, out):
    with crash_after(FeatureStore, "write", 3):
        alone(options, out, "extract")


def test_images_done_by_two_processes_are_kept_by_one(small, tmp_path):
    one, out = alone(small, tmp_path / "one", "extract"), tmp_path / "two"
    outcomes = with_environment(2, interrupted, small, out)
    assert any(isinstance(outcome, Crash) for outcome in outcomes)
    done = [line for log in (out / "extract").glob("*.jsonl") for line in log.read_text().splitlines() if line]
    assert done
    with (out / "extract" / "0.jsonl").open("a") as log:
        log.write('\n{"slot": 6, "id"')  # cut short
    with crash_after(FeatureStore, "write", 7 - len(done)):
        alone(small, out, "extract")
    assert ImageTable.load(one / "images.json") == ImageTable.load(out / "images.json")
    files = sorted(path.relative_to(one) for path in (one / "features.zarr").rglob("*") if path.is_file())
    assert all((one / file).read_bytes() == (out / file).read_bytes() for file in files)


def open_run(comm, place):
    with RunDirectory(place / "shared" if comm.size == 1 else place, comm) as run:
        run.open(make_config({}), "best", "fingerprint")
        return run.manifest["preset"]


def open_own(comm, place, begun):
    """As on machines that have a folder of this path each."""
    if begun:
        open_run(ONE_PROCESS, place / str(comm.rank))
    return open_run(comm, place / str(comm.rank) / "shared")


def test_all_processes_must_see_the_run(tmp_path):
    assert result_of(in_processes(2, open_run, tmp_path / "one")) == ["best", "best"]
    for begun in (False, True):
        outcomes = in_processes(2, open_own, tmp_path / str(begun), begun)
        for rank, outcome in enumerate(outcomes):
            assert isinstance(outcome, ConfigError)
            assert re.match(rf"process {rank} of 2: process 1 .*/shared", str(outcome))
        assert (tmp_path / str(begun) / "0" / "shared" / "run.json").exists() == begun


@needs_children
def test_killed_processes_are_restarted_and_the_result_is_right(small, tmp_path):
    small |= {"scope": "dataset", "block": 60}
    one, out = alone(small, tmp_path / "one"), tmp_path / "killed"
    process = torchrun(small, out, 3)
    killed = 0
    for stage, rank in (("graph", 1), ("orthogonalise", 0)):
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                state = json.loads((out / "run.json").read_text())["stages"][stage]["state"]
            except (FileNotFoundError, json.JSONDecodeError):
                state = "open"
            if state != "open" and rank in (workers := workers_of(process)):
                os.kill(workers[rank], signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
    code, log = finish(process, out)
    assert code == 0, log
    assert killed == 2
    assert log.count("done:") == 1  # only rank 0 reports
    assert_same(one, out)


def test_an_error_in_one_process_ends_the_run_with_its_message(small, tmp_path, folder):
    photo = folder / "images" / "06.png"
    photo.write_bytes(photo.read_bytes()[:2000])  # the head is whole: only the process that reads the pixels notices
    out = tmp_path / "run"
    began = time.monotonic()
    first, second = with_environment(2, alone, {**small, "bad_images": "refuse"}, out)
    assert time.monotonic() - began < 30
    assert isinstance(second, ImageError) and str(second).startswith("process 1 of 2: image 06")
    assert isinstance(first, LostProcessError)
    assert json.loads((out / "run.json").read_text())["stages"]["extract"]["state"] == "running"
