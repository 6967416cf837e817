"""What goes wrong is said in words, or counted; never a traceback, never a half-written run."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from spectral_graph.cli.commands import main
from spectral_graph.runs.directory import RunDirectory


def call(capsys, options, out, *more, command="build"):
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    place = ["--out", str(out)] if command == "build" else [str(out)]
    code = main([command, *place, *flags, *more])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured


def metrics(out):
    return json.loads((out / "metrics.json").read_text())


def test_corrupt_image_is_skipped_and_counted(capsys, options, folder, tmp_path):
    victim = folder / "images" / "02.png"
    victim.write_bytes(victim.read_bytes()[:200])
    code, captured = call(capsys, options, tmp_path / "run")
    assert code == 0
    assert "skipped image 02" in captured.err
    found = metrics(tmp_path / "run")
    assert found["dataset"]["images"] == 6
    assert found["dataset"]["skipped"][0][0] == "02"
    assert "02" in (tmp_path / "run" / "report" / "index.html").read_text()


def test_corrupt_image_can_be_refused(capsys, options, folder, tmp_path):
    (folder / "images" / "02.png").write_bytes(b"no image")
    code, captured = call(capsys, options, tmp_path / "run", "--bad-images", "refuse")
    assert code == 2
    assert "02.png" in captured.err


def test_corrupt_label_and_missing_label_are_counted(capsys, options, folder, tmp_path):
    (folder / "labels" / "01.png").write_bytes(b"no label")
    (folder / "labels" / "02.png").unlink()
    (folder / "classes.txt").write_text("ground\ndisc\n")
    code, captured = call(capsys, options, tmp_path / "run")
    assert code == 0
    assert "label of image 01 counted as missing" in captured.err
    found = metrics(tmp_path / "run")["methods"]["vv"]
    assert (found["images_scored"], found["images_without_label"]) == (5, 2)


def test_folder_without_labels_still_makes_a_report(capsys, options, folder, tmp_path):
    for path in (folder / "labels").iterdir():
        path.unlink()
    (folder / "labels").rmdir()
    code, _ = call(capsys, options, tmp_path / "run", "--clusters", "3")
    assert code == 0
    assert "hungarian" not in metrics(tmp_path / "run")["methods"]["vv"]
    assert (tmp_path / "run" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"root": "/nowhere/at/all"}, ["/nowhere/at/all"]),
        ({"model": "vit_tinny_patch16_224"}, ["vit_tinny_patch16_224", "vit_tiny_patch16_224"]),
        ({"layers": "5-40"}, ["40"]),
        ({"weights": "/nowhere/w.safetensors"}, ["/nowhere/w.safetensors"]),
        ({"c_intra": 25}, ["c_intra is 25", "at most 24 neighbours"]),
        ({"c_inter": 76, "threshold": 0}, ["c_inter is 76", "--c-inter"]),
        ({"channels": 176}, ["--channels 176", "175 nodes"]),
        ({"c_intra": 0, "c_inter": 0}, ["--c-intra 0 and --c-inter 0"]),
        ({"threshold": 1.5}, ["--threshold 1.5"]),
        ({"kinds": "vv,xx"}, ["--kinds"]),
        ({"kinds": "vv,vv"}, ["names something twice"]),
        ({"solver": "magic"}, ["--solver magic"]),
        ({"size": "big"}, ["'big'"]),
        ({"limit": 0}, ["--limit 0"]),
        ({"clusters": 9999}, ["9999"]),
        ({"tol": "inf"}, ["--tol inf"]),
        ({"hub_cap": "nan"}, ["--hub-cap nan"]),
        ({"seed": 2**64}, [f"--seed {2**64}"]),
        ({"kmeans_seeds": "0,-1"}, ["--kmeans-seeds -1"]),
        ({"root": ""}, ["--root", "the name is empty"]),
    ],
)
def test_wrong_options_are_worded(capsys, options, tmp_path, change, words):
    code, captured = call(capsys, {**options, **change}, tmp_path / "run")
    assert code == 2
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    for word in words:
        assert word in last


def test_no_image_at_all(capsys, options, tmp_path):
    (tmp_path / "empty").mkdir()
    code, captured = call(capsys, {**options, "root": tmp_path / "empty"}, tmp_path / "run")
    assert code == 2
    assert str(tmp_path / "empty") in captured.err


def test_only_corrupt_images(capsys, options, folder, tmp_path):
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    code, captured = call(capsys, options, tmp_path / "run")
    assert code == 2
    assert "none of the 7 images" in captured.err


def test_unreachable_hub_names_the_alternatives(capsys, options, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options.pop("weights")
    code, captured = call(capsys, {**options, "model": "vit_tiny_patch16_224.augreg_in21k"}, tmp_path / "run")
    assert code == 2
    assert "--weights" in captured.err
    assert "focus_vits14" in captured.err


def test_identical_images_are_legal(capsys, options, folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    for path in (folder / "images").iterdir():
        Image.fromarray(pixels).save(path)
    code, _ = call(capsys, options, tmp_path / "run")
    assert code == 0


def test_foreign_folder_is_not_touched(capsys, options, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, captured = call(capsys, options, tmp_path / "mine")
    assert code == 2
    assert "holds no run" in captured.err
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_damaged_graph_block_names_itself_and_can_be_recomputed(capsys, options, tmp_path):
    out = tmp_path / "run"
    assert call(capsys, options, out, command="graph")[0] == 0
    victim = next((out / "vv" / "graph.zarr" / "blocks").rglob("data/c/0"))
    raw = bytearray(victim.read_bytes())
    raw[9] ^= 8
    victim.write_bytes(raw)
    code, captured = call(capsys, options, out)
    assert code == 2
    assert "damaged block" in captured.err
    assert call(capsys, options, out, "--force", "graph", command="evaluate")[0] == 0


def test_stages_one_by_one_take_over_the_options_of_the_run(capsys, options, tmp_path):
    out = tmp_path / "run"
    assert call(capsys, options, out, command="extract")[0] == 0
    for stage in ("graph", "solve", "orthogonalise", "segment", "evaluate", "report"):
        assert main([stage, str(out), "--quiet"]) == 0
    assert call(capsys, options, tmp_path / "whole", command="evaluate")[0] == 0
    assert (out / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()


def test_info_tells_what_a_run_holds(capsys, options, tmp_path):
    out = tmp_path / "run"
    call(capsys, options, out)
    assert main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert main(["info", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["run"]
    assert [stage["state"] for stage in found["stages"]] == ["complete"] * 7
    assert (found["input"]["images"], found["input"]["dataset"], found["input"]["nodes"]) == (7, "folder", 175)
    assert [affinity["title"] for affinity in found["affinities"]] == ["V-V", "Q-K"]
    for affinity in found["affinities"]:
        assert list(affinity["graph"]["layers"]) == found["input"]["layers"] == ["blocks.2", "blocks.5"]
        assert affinity["graph"]["batch"] == 4 and affinity["bank"]["columns"] == 6
        assert len(affinity["solution"]["eigenvalues"]) == 6 and affinity["solution"]["converged"]
        for shown in (affinity["graph"]["all"]["largest_in_degree"], affinity["graph"]["all"]["isolated_nodes"]):
            assert f" {shown}" in text
        assert f"{affinity['solution']['value']:.6f}" in text
    scores = json.loads((out / "metrics.json").read_text())["methods"]
    for record in found["scores"]:
        assert record["miou_hungarian"] == scores[record["method"]]["hungarian"]["miou"]["mean"]
        assert f"{record['miou_hungarian']:.3f}" in text and record["title"] in text
    assert found["report"] == str(out / "report" / "index.html")
    assert main(["info", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
from spectral_graph.cli.commands import main
from spectral_graph.runs.directory import RunDirectory
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("limit", "stage"), [(3_000, "extract"), (4_100, "graph"), (6_000, "solve")])
def test_no_room_is_worded_and_the_run_goes_on_later(capsys, options, tmp_path, limit, stage):
    """A limit on the size of files makes the system refuse writes as a full disk or quota does."""
    assert resource.RLIMIT_FSIZE
    options |= {"kinds": "vv", "kmeans_seeds": "0"}
    out = tmp_path / "run"
    before = ("extract", "graph", "solve")[: ("extract", "graph", "solve").index(stage)]
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    if before:
        assert main([before[-1], str(out), *flags, "--quiet"]) == 0
    limited = [sys.executable, "-c", LIMITED.format(limit=limit), "build", "--out", str(out), *flags]
    result = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert "is full" in result.stderr.splitlines()[-1]
    assert call(capsys, options, out, command="evaluate")[0] == 0
    assert call(capsys, options, tmp_path / "whole", command="evaluate")[0] == 0
    assert (out / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()


def test_a_place_that_cannot_be_written_is_worded(capsys, options, tmp_path):
    (tmp_path / "file").write_text("x")
    code, captured = call(capsys, options, tmp_path / "file" / "run")
    assert code == 2
    assert captured.err.splitlines()[-1].startswith("error: ")
    code, captured = call(capsys, options, tmp_path / "file")
    assert code == 2
    assert "this is a file; name a folder" in captured.err


def test_two_processes_cannot_work_on_one_run(capsys, options, tmp_path):
    with RunDirectory(tmp_path / "run"):
        code, captured = call(capsys, options, tmp_path / "run")
    assert code == 2
    assert "another process works on" in captured.err


def test_uncompiled_operators_warn_once_and_give_the_same_scores(capsys, options, tmp_path, monkeypatch):
    assert call(capsys, options, tmp_path / "compiled", "--quiet", command="evaluate")[0] == 0
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    hidden = "import sys; sys.modules['spectral_graph._C'] = None\nfrom spectral_graph.cli.commands import main\n"
    command = [sys.executable, "-c", f"{hidden}sys.exit(main(sys.argv[1:]))", "evaluate", str(tmp_path / "plain")]
    result = subprocess.run([*command, *flags, "--quiet"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("UncompiledWarning") == 1
    for method in ("vv", "qk"):
        ours, plain = (metrics(tmp_path / name)["spectrum"][method] for name in ("compiled", "plain"))
        np.testing.assert_allclose(plain["eigenvalues"], ours["eigenvalues"], atol=1e-5)
