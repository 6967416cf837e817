"""A run goes on with the same input wherever it lies, and with no other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crashing import Crash, crash_after
from PIL import Image

from spectral_graph.cli.commands import main
from spectral_graph.config import make_config
from spectral_graph.errors import MissingDataError, StaleRunError
from spectral_graph.pipeline import run_pipeline
from spectral_graph.progress import Reporter
from spectral_graph.stages import extract


def run(options, out, until="evaluate", **more) -> Path:
    return run_pipeline(make_config(options), out, until=until, reporter=Reporter(quiet=True), **more)


def flags(options) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def replace_unseen(path: Path, data: bytes) -> None:
    about = path.stat()
    assert len(data) == about.st_size and data != path.read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def other_pixels(path: Path) -> bytes:
    """Return a file of the same size with other pixels: PNG without compression."""
    with Image.open(path) as image:
        pixels = 255 - np.asarray(image)
    Image.fromarray(pixels).save(path.with_suffix(".tmp"), "PNG", compress_level=0)
    data = path.with_suffix(".tmp").read_bytes()
    path.with_suffix(".tmp").unlink()
    return data


@pytest.fixture
def plain(options, folder):
    """The options, with photos whose size does not depend on their pixels."""
    for path in folder.glob("*/*.png"):
        Image.open(path).save(path, compress_level=0)
    return options


def test_labels_belong_to_evaluate(plain, tmp_path, folder):
    plain = {**plain, "kinds": "vv", "kmeans_seeds": "0", "gallery": 0}
    out = run(plain, tmp_path / "run")
    before = (out / "images.json").stat().st_mtime_ns
    label = folder / "labels" / "03.png"
    values = np.asarray(Image.open(label)).copy()
    values[values == 1] = 0
    Image.fromarray(values).save(label, compress_level=0)
    with pytest.raises(StaleRunError, match=r"labels .* `force=evaluate`"):
        run(plain, out)
    run(plain, out, force="evaluate")
    assert (out / "images.json").stat().st_mtime_ns == before
    fresh = run(plain, tmp_path / "fresh")
    assert (fresh / "metrics.json").read_bytes() == (out / "metrics.json").read_bytes()
    # Another number of classes asks for other regions.
    (folder / "classes.txt").write_text("ground\ndisc\nthird\n")
    with pytest.raises(StaleRunError, match="`force=segment`"):
        run(plain, out, force="evaluate")
    run(plain, out, force="segment")
    assert json.loads((out / "metrics.json").read_text())["methods"]["vv"]["clusters"] == 3
    replace_unseen(folder / "classes.txt", b"ground\nblob\nthird\n")
    with pytest.raises(StaleRunError, match=r"labels .* `force=evaluate`"):
        run(plain, out)


def test_a_photo_of_equal_size_is_noticed_after_a_kill_too(plain, tmp_path, folder):
    out = tmp_path / "run"
    with crash_after(extract, "_write", 2), pytest.raises(Crash):
        run(plain, out, until="extract")
    photo = folder / "images" / "00.png"
    whole = photo.read_bytes()
    replace_unseen(photo, other_pixels(photo))
    with pytest.raises(StaleRunError, match="`force=extract`"):
        run(plain, out, until="extract")
    photo.write_bytes(whole)
    run(plain, out, until="extract")
    straight = run(plain, tmp_path / "straight", until="extract")
    assert (straight / "images.json").read_bytes() == (out / "images.json").read_bytes()


def test_labels_that_come_before_they_are_used_ask_for_nothing(plain, tmp_path, folder):
    out = run(plain, tmp_path / "run", until="extract")
    before = (out / "images.json").stat().st_mtime_ns
    (folder / "labels" / "01.png").unlink()
    run(plain, out, until="graph")
    assert (out / "images.json").stat().st_mtime_ns == before


def test_a_run_goes_on_from_another_folder_and_after_its_data_moved(plain, tmp_path, folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = {**plain, "root": folder.relative_to(tmp_path), "kinds": "vv"}
    weights = tmp_path / "own.safetensors"
    shutil.copy(plain["weights"], weights)
    given["weights"] = weights.name
    assert main(["extract", "run", *flags(given), "--quiet"]) == 0
    before = (tmp_path / "run" / "images.json").stat().st_mtime_ns
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["graph", "../run", "--quiet"]) == 0
    folder.rename(tmp_path / "moved")
    assert main(["graph", "../run", "--quiet"]) == 2
    words = capsys.readouterr().err
    assert "--root" in words and str(folder) in words and "../run" in words and "Traceback" not in words
    assert main(["graph", "../run", "--root", "../moved", "--quiet"]) == 0
    assert main(["solve", "../run", "--quiet"]) == 0, "the new place is kept"
    weights.rename(tmp_path / "renamed.safetensors")
    assert main(["solve", "../run", "--quiet"]) == 0, "features are there: the weights are needed no more"
    moved = ["--weights", "../renamed.safetensors"]
    assert main(["solve", "../run", *moved, "--quiet"]) == 0
    with (tmp_path / "renamed.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    assert main(["solve", "../run", *moved, "--quiet"]) == 2
    assert "--weights" in capsys.readouterr().err
    assert (tmp_path / "run" / "images.json").stat().st_mtime_ns == before


def test_the_folder_behind_the_variable_is_recorded(plain, tmp_path, folder, monkeypatch):
    given = {name: value for name, value in plain.items() if name != "root"}
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(folder))
    assert main(["extract", str(tmp_path / "run"), *flags(given), "--quiet"]) == 0
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(tmp_path / "elsewhere"))
    assert main(["extract", str(tmp_path / "run"), "--quiet"]) == 0


def test_a_run_of_an_earlier_build_is_refused_by_name(plain, tmp_path):
    out = run(plain, tmp_path / "run", until="extract")
    manifest = json.loads((out / "run.json").read_text())
    del manifest["labels_fingerprint"]
    (out / "run.json").write_text(json.dumps(manifest))
    assert main(["info", str(out)]) == 0
    with pytest.raises(StaleRunError, match="`force=extract`"):
        run(plain, out, until="extract")
    run(plain, out, until="extract", force="extract")


def test_other_data_in_the_same_place_or_none(plain, tmp_path, folder):
    out = run(plain, tmp_path / "run", until="extract")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    run({**plain, "root": other}, out, until="extract")
    (other / "images" / "06.png").rename(other / "images" / "6.png")
    with pytest.raises(StaleRunError, match="images of this data set"):
        run({**plain, "root": other}, out, until="extract")
    with pytest.raises(MissingDataError, match="`root`"):
        run({**plain, "root": tmp_path / "nowhere"}, out, until="extract")


def test_out_inside_root_and_a_second_run_beside_it(plain, tmp_path, folder):
    """The pictures of one run are photos of no other, and a resume sees the photos that it began with."""
    shutil.rmtree(folder / "labels")
    options = {**plain, "kinds": "vv", "kmeans_seeds": "0", "clusters": 2}
    first = run(options, folder / "runs" / "first")
    run(options, first)
    second = run(options, folder / "runs" / "second")
    found = json.loads((second / "images.json").read_text())["images"]
    assert [image["id"] for image in found] == [f"images/{index:02d}" for index in range(7)]
    assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
AGAIN = """
import sys
from spectral_graph.cli.commands import main
assert sys.getfilesystemencoding() == "ascii"
sys.exit(main(["report", sys.argv[1], "--force", "evaluate"]))
"""


def test_odd_names_go_the_whole_way_in_every_locale(plain, tmp_path, folder, capsys):
    """A file name that is not UTF-8, and names that are not ASCII in a C locale: report, scores, info, and a resume."""
    root = tmp_path / "fötos"
    shutil.move(folder / "images", root)
    for name in (b"caf\xe9.png", "ärger 猫.png".encode(), b"line\nfeed<b>.png", b"\x1b[31mred.png"):
        shutil.copy(root / "00.png", os.fsdecode(os.fsencode(root) + b"/" + name))
    Path(os.fsdecode(os.fsencode(root) + b"/bad\xff.png")).touch()
    out = tmp_path / "rün"
    quick = {"kinds": "vv", "clusters": 2, "gallery": 20, "kmeans_seeds": "0", "root": root}
    assert main(["build", "--out", str(out), *flags({**plain, **quick})]) == 0
    assert "skipped image bad\\xff" in capsys.readouterr().err
    table = json.loads((out / "images.json").read_text(encoding="utf-8"))
    ids = [image["id"] for image in table["images"]]
    assert {"caf\\xe9", "ärger 猫", "line\nfeed<b>", "\x1b[31mred"} < set(ids) and ids == sorted(ids)
    assert table["skipped"][0][0] == "bad\\xff"
    before = (out / "metrics.json").read_bytes()
    done = subprocess.run([sys.executable, "-c", AGAIN, str(out)], capture_output=True, env={**os.environ, **C_LOCALE})
    words = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0 and "Traceback" not in words, words
    assert (out / "metrics.json").read_bytes() == before
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "caf\\xe9" in page and "ärger 猫" in page
