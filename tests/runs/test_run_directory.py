"""The run directory when processes are killed, or two are started: nothing is mixed, and it goes on."""

import json
import signal
import subprocess
import sys

import pytest
from crashing import Crash, crash_after

from spectral_graph.cli.commands import main
from spectral_graph.config import STAGES, make_config
from spectral_graph.errors import ConfigError, FormatError, StaleRunError
from spectral_graph.per_image.options import make_image_config
from spectral_graph.per_image.store import Results
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.runs import directory as run_module
from spectral_graph.runs.directory import OUTPUTS, RunDirectory
from spectral_graph.runs.image_table import ImageTable

HOLDER = """
import sys, time
from pathlib import Path
from spectral_graph.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])) as run:
    print("in", flush=True)
    time.sleep(60)
"""
OTHER = {"c_inter": 3}


def work(path, force=None, **options):
    """Do what a call of the command line does to a folder: each stage that is not complete notes its options."""
    config = make_config(options)
    with RunDirectory(path) as run:
        run.open(config, "best", "fingerprint", force)
        for name in STAGES:
            if run.complete(name):
                continue
            with run.stage(name):
                for pattern in OUTPUTS[name]:
                    made = path / pattern.format(kind="vv")
                    if not made.exists():  # a stage takes over what it finds
                        made.parent.mkdir(exist_ok=True)
                        made.write_text(f"c_inter {config.c_inter}")


def contents(path):
    patterns = [pattern.format(kind="vv") for patterns in OUTPUTS.values() for pattern in patterns]
    return {pattern: (path / pattern).read_text() for pattern in patterns}


@pytest.mark.parametrize("again", [{}, {"force": "solve"}])
def test_a_force_that_is_killed_leaves_nothing_of_the_other_options(tmp_path, again, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(run_module, "reset_peak", lambda: None)
    removals = sum(3 if "{kind}" in p else 1 for name in STAGES[1:] for p in OUTPUTS[name])
    for calls in range(0, removals, 2):
        path = tmp_path / f"run{calls}"
        work(path)
        with crash_after(run_module, "remove", calls), pytest.raises(Crash):
            work(path, force="graph", **OTHER)
        work(path, **again, **OTHER)
        for name, text in contents(path).items():
            first = name in OUTPUTS["extract"]
            assert text == f"c_inter {20 if first else 3}", (calls, name)
        assert run_module.FORGETTING not in json.loads((path / "run.json").read_text())


def test_a_folder_whose_first_process_was_killed_can_be_taken_up(tmp_path):
    """A kill may come before run.json, or image.json, is in place."""
    run, photos = tmp_path / "run", tmp_path / "photos"
    for folder, name in ((run, "run.json"), (photos, "image.json")):
        folder.mkdir()
        (folder / f".{name}.4711.partial").write_text("{")
    work(run)
    assert json.loads((run / "run.json").read_text())["stages"]["report"]["state"] == "complete"
    Results(photos, make_image_config({})).open(force=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".hidden").write_text("x")
    with pytest.raises(StaleRunError, match=r"is not empty and holds no run \(found .hidden\)"):
        work(tmp_path / "mine")


def test_a_kill_before_the_options_are_noted_loses_nothing(tmp_path, options):
    """The first run.json comes before the note of what the user gave."""
    run = tmp_path / "run"
    with crash_after(RunDirectory, "save", 1), pytest.raises(Crash):
        run_pipeline(make_config(options), run, until="extract", reporter=Reporter(quiet=True))
    assert main(["extract", str(run), "--quiet"]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: [], "it is no JSON object"),
        (lambda m: m | {"format": 7}, "has format 7, this version reads 1"),
        (lambda m: m | {"stages": {}}, "has no stage extract"),
        (lambda m: m | {"stages": m["stages"] | {"solve": {}}}, "stages.solve.state: field required"),
        (lambda m: {name: value for name, value in m.items() if name != "config"}, "config: field required"),
    ],
)
def test_a_run_of_another_version_or_damaged_is_worded(tmp_path, capsys, change, words, folder):
    run = tmp_path / "run"
    work(run)
    file = run / "run.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    for command in (["info"], ["solve", "--dataset", "folder", "--root", str(folder), "--quiet"]):
        assert main([command[0], str(run), *command[1:]]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"), [("{}", "grid: field required"), ("[]", "input should be a valid dictionary")]
)
def test_a_table_of_images_that_is_damaged_is_worded(tmp_path, content, words):
    file = tmp_path / "images.json"
    file.write_text(content)
    with pytest.raises(FormatError, match=rf"{file}.*\({words}.*`force=extract`"):
        ImageTable.load(file)


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path):
    for name, target in (("loop", "loop"), ("dangling", "gone")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(ConfigError, match=rf"`out=.*{name}`"):
            work(tmp_path / name)


@pytest.fixture
def holder(tmp_path):
    """A process that works on tmp_path/run."""
    work(tmp_path / "run")
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_reads_and_goes_on_after_a_kill(tmp_path, holder, capsys, folder):
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    flags = ["--dataset", "folder", "--root", str(folder), "--quiet"]
    for command in (["build", "--out", str(run), "--force", "extract"], ["solve", str(run)]):
        assert main([*command, *flags]) == 2
        assert f"another process works on {run}; wait for it, or name another folder" in capsys.readouterr().err
    photo = str(folder / "images" / "00.png")
    assert main(["image", photo, "--out", str(run), "--quiet"]) == 2
    assert "another process works on" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert run_module.read_manifest(run)["stages"]["report"]["state"] == "complete"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    work(run)
