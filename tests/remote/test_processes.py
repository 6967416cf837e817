"""`torchrun` with a run behind a URL: several processes, one of them killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from far import files_of, objects, states

from spectral_graph.config import make_config
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter

CHILDREN = Path("/proc/self/task")
pytestmark = pytest.mark.skipif(not CHILDREN.is_dir(), reason="finds the processes of torchrun in /proc (Linux)")


@pytest.fixture
def small(options):
    return {**options, "kinds": "vv", "kmeans_seeds": "0", "optimality": "none", "scope": "dataset", "block": 60}


def torchrun(options, url, log):
    """Start `torchrun` with two processes and one restart, up to stage solve."""
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1", "--standalone"]
    command = [sys.executable, *launch, "-m", "spectral_graph.cli", "solve", url, *flags]
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"})


def worker(process, rank):
    """Return the process id of a rank; None where there is none."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                return int(child)
        except OSError:
            continue
    return None


def kill_in(process, url, stage, rank):
    """Kill a process with SIGKILL once the stage before is published."""
    deadline = time.monotonic() + 90
    fs, root = fsspec.core.url_to_fs(url)
    while process.poll() is None and time.monotonic() < deadline:
        try:
            published = json.loads(fs.cat_file(f"{root}/run.json"))["stages"][stage]["state"] == "complete"
        except FileNotFoundError:
            published = False
        if published and (found := worker(process, rank)):
            os.kill(found, signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def finish(process):
    try:
        return process.wait(120)
    finally:
        process.kill()


def results(files):
    """What has the bytes of one process; of the banks the last bits differ."""
    kept = ("images.json", "features.zarr/", "vv/graph.zarr/blocks/")
    return {path: data for path, data in files.items() if path.startswith(kept)}


def test_a_killed_process_of_a_run_behind_a_url(small, s3_url, cache, tmp_path):
    log, alone = tmp_path / "log", tmp_path / "alone"
    process = torchrun(small, s3_url, log)
    assert kill_in(process, s3_url, "extract", 1), log.read_text()
    code, said = finish(process), log.read_text()
    assert code == 0, said
    assert "Signal 9 (SIGKILL)" in said or "exitcode: -9" in said  # torchrun tells
    assert said.count("done:") == 1
    assert states(s3_url) == ["complete"] * 3 + ["open"] * 4
    run_pipeline(make_config(small), alone, until="solve", reporter=Reporter(quiet=True))
    found, expected = results(objects(s3_url)), results(files_of(alone))
    assert {path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)} == set()
