"""What the benchmark of kills relies on: it sees a difference, and when a process has begun."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from spectral_graph.config import RunConfig

HOLDER = """
import sys, time
from pathlib import Path
from spectral_graph.run import RunDirectory
with RunDirectory(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def kills(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1])
    return importlib.import_module("benchmarks.kills")


def write_run(run):
    for path in ("vv/ortho/X.1.f32", "qk/ortho/images.1.npy", "vv/graph.zarr/a/c/0", "regions.zarr/a", "metrics.json"):
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        (run / path).write_bytes(b"content of " + path.encode())
    return run


@pytest.mark.parametrize("damage", ["vv/ortho/X.1.f32", "vv/graph.zarr/a/c/0", "regions.zarr/a", "metrics.json"])
def test_a_difference_in_any_result_ends_the_program(kills, tmp_path, damage):
    one, two = write_run(tmp_path / "one"), write_run(tmp_path / "two")
    kills.compare(one, two)
    (one / damage).write_bytes(b"other")
    with pytest.raises(SystemExit, match=damage):
        kills.compare(one, two)
    (one / damage).unlink()
    with pytest.raises(SystemExit, match=damage):
        kills.compare(one, two)


def test_an_empty_run_is_no_success(kills, tmp_path):
    with pytest.raises(SystemExit, match="there is nothing"):
        kills.compare(tmp_path, tmp_path)


def test_the_process_that_holds_the_run_is_known(kills, tmp_path):
    out = tmp_path.resolve() / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        assert kills.has_taken_up(process, out)
        assert not kills.has_taken_up(process, tmp_path)
    finally:
        process.kill()
        process.wait()


def test_running_is_read_from_the_run(kills, tmp_path):
    assert kills.running(tmp_path) is None
    stages = {"extract": {"state": "complete"}, "graph": {"state": "running"}, "solve": {"state": "open"}}
    (tmp_path / "run.json").write_text(json.dumps({"stages": stages}))
    assert kills.running(tmp_path) == "graph"


def test_its_options_are_options_of_a_run(kills):
    assert {name.replace("-", "_") for name in kills.OPTIONS} <= RunConfig.model_fields.keys()
