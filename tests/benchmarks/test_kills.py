"""What the benchmark of kills relies on: it sees a difference, and when a process has begun."""

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from spectral_graph.cli.parser import make_parser
from spectral_graph.config import RunConfig
from spectral_graph.per_image.options import ImageConfig

HOLDER = """
import sys, time
from pathlib import Path
from spectral_graph.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def kills(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    return importlib.import_module("benchmarks.kills")


def write_run(run):
    banks = ("vv/bank/X.1.f32", "vv/ortho/X.1.f32", "qk/ortho/images.1.npy")
    for path in (*banks, "vv/graph.zarr/a/c/0", "regions.zarr/a", "metrics.json"):
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        (run / path).write_bytes(b"content of " + path.encode())
    return run


@pytest.mark.parametrize(
    "damage", ["vv/bank/X.1.f32", "vv/ortho/X.1.f32", "vv/graph.zarr/a/c/0", "regions.zarr/a", "metrics.json"]
)
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


def test_photos_are_worked_on_from_the_first_record_on(kills, tmp_path):
    assert kills.running(tmp_path) is None
    (tmp_path / "image.json").write_text("{}")
    assert kills.running(tmp_path) == "image"


def test_a_difference_in_a_result_of_a_photo_ends_the_program(kills, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for run in (one, two):
        (run / "a").mkdir(parents=True)
        for name in ("image.json", "a/result.json", "a/result.npz", "a/masks.png"):
            (run / name).write_text("{}")
    kills.compare(one, two, kills.PHOTO_ARTEFACTS)
    (one / "a" / "result.npz").write_text("other")
    with pytest.raises(SystemExit, match=r"arrays of .*a/result.npz"):
        kills.compare(one, two, kills.PHOTO_ARTEFACTS)


def test_its_options_are_options_of_a_run(kills):
    assert {name.replace("-", "_") for name in kills.OPTIONS} <= RunConfig.model_fields.keys()
    assert {name.replace("-", "_") for name in kills.IMAGE_OPTIONS} <= ImageConfig.model_fields.keys()


def test_options_of_the_user_stand_before_its_own(kills, tmp_path):
    more = Namespace(image=False, photos=0, options="--scope batch --steps 7 --preset released")
    line = kills.work_of(more).command(tmp_path)
    parsed = make_parser("").parse_args(["build", *line[3:]])
    assert (parsed.scope, parsed.steps, parsed.preset, parsed.out) == ("batch", "7", "released", tmp_path)
    photos = Namespace(image=True, photos=3, options="--solver adam")
    line = kills.work_of(photos).command(tmp_path)
    parsed = make_parser("").parse_args(line[3:])
    assert len(parsed.photos) == 3 and parsed.solver == "adam" and parsed.out == tmp_path
