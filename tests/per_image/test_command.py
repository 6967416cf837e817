"""`spectral-graph image`: results, resume, bad photos, bad options."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_graph.cli.commands import main
from spectral_graph.features.noise import Noise
from spectral_graph.per_image import store
from spectral_graph.per_image.command import list_photos
from spectral_graph.per_image.forward import PhotoSolver
from spectral_graph.per_image.options import make_image_config

MODEL = "vit_tiny_patch16_224"
FILES = {"result.json", "result.npz", "labels.png", "regions.png", "eigenvectors.png", "masks.png"}


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three photos of two shapes, one of them of one colour, and one file that is no photo."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, (height, width) in {"a": (80, 120), "deep/b": (120, 80)}.items():
        pixels = generator.integers(0, 60, (height, width, 3))
        pixels[20:60, 20:60] += generator.integers(90, 190, 3)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    Image.new("RGB", (120, 80), (120, 30, 40)).save(folder / "flat.png")
    (folder / "no.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def call(capsys, model_weights, tmp_path):
    def run(*arguments, out="out"):
        common = ["--model", MODEL, "--weights", str(model_weights), "--size", "96", "--kmeans-init", "1"]
        code = main(["image", *map(str, arguments), *common, "--out", str(tmp_path / out)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.err

    return run


def results(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.glob("*/*"))}


def test_each_photo_gets_a_folder_and_a_bad_photo_is_listed(call, photos, tmp_path):
    code, stderr = call(photos)
    assert code == 0
    assert "skipped no" in stderr and "no.jpg" in stderr
    out = tmp_path / "out"
    names = {p.name for p in out.iterdir() if p.is_dir()}
    (deep,) = names - {"a", "flat"}
    assert deep.startswith("deep_b-")
    for name in names:
        assert {p.name for p in (out / name).iterdir()} == FILES
    record = json.loads((out / "a" / "result.json").read_text())
    assert record["grid"] == [5, 7] and record["network_size"] == [80, 112] and record["graphs"] == 12 * 3
    arrays = np.load(out / "a" / "result.npz")
    assert arrays["regions"].shape == (5, 7) and arrays["regions"].max() == record["clusters"] - 1
    np.testing.assert_allclose(np.square(arrays["eigenvectors"]).sum(axis=(0, 1)), 1, rtol=1e-5)
    assert (np.diff(arrays["eigenvalues"]) <= 0).all() and arrays["eigenvalues"][0] <= 1 + 1e-5
    assert np.asarray(Image.open(out / "a" / "labels.png")).shape == (80, 120)
    page = (out / "index.html").read_text()
    assert 'src="a/regions.png"' in page and "no.jpg" in page
    assert "default-src &#39;none&#39;; img-src &#39;self&#39; data:;" in page and "script" not in page
    assert json.loads((out / "image.json").read_text())["skipped"][0][0] == "no"


def test_second_call_computes_missing_results_only(call, photos, tmp_path, monkeypatch):
    call(photos)
    out = tmp_path / "out"
    before = results(out)
    for path in (out / "a").iterdir():
        path.unlink()
    (out / "a").rmdir()
    written = []
    write = store.Results.write
    monkeypatch.setattr(
        store.Results, "write", lambda self, photo, *rest: (written.append(photo.name), write(self, photo, *rest))
    )
    assert call(photos)[0] == 0
    assert written == ["a"]
    assert results(out) == before
    Image.new("RGB", (120, 80), (1, 2, 200)).save(photos / "flat.png")
    call(photos)
    assert written == ["a", "flat"]
    call(photos, "--force")
    assert sorted(written[2:])[0] == "a" and len(written) == 5


def test_interrupted_call_leaves_no_partial_result(call, photos, tmp_path, monkeypatch):
    call(photos, out="whole")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_write_arrays", stop)
    assert call(photos)[0] == 130
    monkeypatch.undo()
    assert results(tmp_path / "out") == {}
    assert call(photos)[0] == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_results_of_other_options_are_refused(call, photos, tmp_path):
    call(photos)
    code, stderr = call(photos, "--channels", "6")
    assert code == 2 and "--channels is 6" in stderr
    assert call(photos / "a.png", "--channels", "6", "--force")[0] == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "a/regions.png" in page and "flat/regions.png" not in page


def test_another_photo_of_the_same_name_is_not_overwritten(call, photos, tmp_path):
    call(photos / "a.png")
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", (90, 90), (9, 200, 40)).save(other / "a.png")
    code, stderr = call(other / "a.png")
    assert code == 2 and "photos/a.png" in stderr
    assert json.loads((tmp_path / "out" / "a" / "result.json").read_text())["photo"].endswith("photos/a.png")


def test_solvers_and_choices_run_through(call, photos, tmp_path):
    more = ["--channels", "4", "--solver", "adam", "--steps", "20", "--choose", "eigengap", "--clusters", "2-3"]
    assert call(photos / "a.png", *more, "--normalisation", "random_walk", "--layers", "2,5")[0] == 0
    record = json.loads((tmp_path / "out" / "a" / "result.json").read_text())
    assert record["graphs"] == 6 and len(record["eigenvalues"]) == 4 and record["clusters"] in (2, 3)


@pytest.mark.parametrize(
    ("more", "stderr"),
    [
        (["--clusters", "10-2"], "--clusters 10-2"),
        (["--clusters", "many"], "--clusters many"),
        (["--mask-area", "0.9-0.1"], "--mask-area 0.9-0.1"),
        (["--mask-iou", "1.5"], "--mask-iou 1.5"),
        (["--learning-rate", "inf"], "--learning-rate inf"),
        (["--solver", "magic"], "--solver magic"),
        (["--layers", "5-40"], "40"),
        (["--channels", "1000"], "--channels 1000"),
        (["--timesteps", "x"], "timesteps 'x'"),
        (["--choose", "eigengap", "--clusters", "12"], "--choose eigengap"),
    ],
)
def test_wrong_option_is_named(call, photos, more, stderr):
    code, found = call(photos / "a.png", *more)
    assert code == 2
    assert found.strip().splitlines()[-1].startswith("error: ") and stderr in found


def test_missing_photos_and_foreign_folders_are_named(call, photos, tmp_path):
    assert "nowhere.jpg" in call(tmp_path / "nowhere.jpg")[1]
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in call(tmp_path / "empty")[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, stderr = call(photos, out="mine")
    assert code == 2 and "thesis.tex" in stderr
    code, stderr = call(photos / "no.jpg")
    assert code == 2 and "no.jpg" in stderr.splitlines()[-1]


def test_loops_of_links_are_skipped_and_listed(call, photos):
    (photos / "loop.png").symlink_to(photos / "loop.png")
    (photos / "deep" / "up").symlink_to(photos, target_is_directory=True)
    code, stderr = call(photos)
    assert code == 0 and "skipped loop:" in stderr and "Too many levels of symbolic links" in stderr


def pages(*photos, folder):
    """Write photos of one colour each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(photos):
        Image.new("RGB", (96, 80), (40 * index, 90, 200 - 30 * index)).save(folder / name, "PNG")


def test_results_do_not_become_photos(call, photos, monkeypatch):
    """Three calls on the current folder, with the results in it, see the same three photos."""
    monkeypatch.chdir(photos)
    found = set()
    for _ in range(3):
        code, stderr = call(".", out="photos/runs/image")
        assert code == 0
        found.add(frozenset(path.parent.name for path in (photos / "runs" / "image").glob("*/result.json")))
    assert len(found) == 1 and len(found.pop()) == 3 and "runs/image" in stderr
    assert call(photos / "runs" / "image", out="more")[0] == 2
    assert "runs/image" in call(photos / "runs" / "image", out="more")[1]


ODD = ("image.json.png", "index.html.png", "result.json.jpg", "con.png", "nul.x.png", "-rf.png", "end..png", "a b.png")


def test_photos_named_like_result_files(call, tmp_path):
    pages(*ODD, folder=tmp_path / "odd")
    code, stderr = call(tmp_path / "odd", "--clusters", "2")
    out = tmp_path / "out"
    assert code == 0 and "skipped" not in stderr
    names = [path.parent.name for path in out.glob("*/result.json")]
    assert len(names) == len(ODD) and json.loads((out / "image.json").read_text())["skipped"] == []
    for name in names:
        assert name.partition(".")[0].casefold() not in ("con", "nul") and name[0] not in ".-" and name[-1] != "."
    before = results(out)
    code, stderr = call(tmp_path / "odd", "--clusters", "2")
    assert code == 0 and results(out) == before


def test_names_are_those_of_earlier_builds_where_they_are_safe(tmp_path):
    pages("a.png", "b.JPG", "x.y.png", "B.png", folder=tmp_path / "photos")
    pages("c.png", folder=tmp_path / "photos" / "deep")
    pages("n" * 250 + ".png", folder=tmp_path / "long")
    listed = [name for name, _ in list_photos([tmp_path / "photos"], print)]
    assert set(listed) >= {"a", "B", "x.y"} and len({name.casefold() for name in listed}) == 5
    ((long, _),) = list_photos([tmp_path / "long"], print)
    assert len(f".{long}.partial") <= 255
    twice = [tmp_path / "photos", tmp_path / "photos" / "a.png", tmp_path / "photos" / "deep" / ".." / "a.png"]
    assert len(list_photos(twice, print)) == 5


def test_foreign_files_are_not_replaced(call, photos, tmp_path):
    assert call(photos / "flat.png")[0] == 0
    out = tmp_path / "out"
    (out / "a").write_text("my notes")
    (out / "deep").mkdir()
    for more in ([], ["--force"]):
        code, stderr = call(photos / "a.png", *more)
        assert code == 2 and "a" in stderr and (out / "a").read_text() == "my notes"
    (out / "a").unlink()
    (out / "a").mkdir()
    (out / "a" / "thesis.tex").write_text("x")
    code, stderr = call(photos / "a.png")
    assert code == 2 and "thesis.tex" in stderr and (out / "a" / "thesis.tex").exists()
    (out / "a" / "thesis.tex").rename(out / "a" / "result.json")
    assert call(photos / "a.png")[0] == 0, "a damaged result is recomputed"


def test_changed_photo_of_equal_size_is_recomputed(call, photos, tmp_path):
    pages("same.bmp", folder=photos)
    Image.new("RGB", (96, 80), (1, 2, 3)).save(photos / "same.bmp")
    assert call(photos / "same.bmp")[0] == 0
    first = json.loads((tmp_path / "out" / "same" / "result.json").read_text())
    about = (photos / "same.bmp").stat()
    Image.new("RGB", (96, 80), (3, 2, 1)).save(photos / "same.bmp")
    os.utime(photos / "same.bmp", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert call(photos / "same.bmp")[0] == 0
    second = json.loads((tmp_path / "out" / "same" / "result.json").read_text())
    assert first["sha256"] != second["sha256"] and about.st_size == (photos / "same.bmp").stat().st_size


def test_photos_with_names_that_are_not_utf_8(call, tmp_path, monkeypatch):
    pages(os.fsdecode(b"caf\xe9.png"), "ärger.png", folder=tmp_path / "odd")
    (tmp_path / "odd" / os.fsdecode(b"bad\xff.png")).touch()
    os.mkfifo(tmp_path / "odd" / "pipe.png")
    code, stderr = call(tmp_path / "odd")
    assert code == 0 and "bad\\xff" in stderr and "pipe.png" in stderr
    monkeypatch.setattr(store.Results, "write", lambda *_: pytest.fail("it was done"))
    assert call(tmp_path / "odd")[0] == 0


def test_the_home_folder_and_empty_names(model_weights, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "photos")
    common = ["--model", MODEL, "--size", "96", "--kmeans-init", "1", "--layers", "2"]
    shutil.copy(model_weights, tmp_path / "own.safetensors")
    assert main(["image", "~/photos/a.png", "--out=~/mine", "--weights=~/own.safetensors", *common]) == 0
    assert (tmp_path / "mine" / "a" / "result.json").is_file() and not (photos / "~").exists()
    for arguments in (["image", ""], ["image", "a.png", "--out="], ["info", ""], ["build", "--out", ""], ["solve", ""]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and "empty" in capsys.readouterr().err
    assert main(["build", "--root=", "--out", str(tmp_path / "x")]) == 2
    assert "--root" in capsys.readouterr().err


def test_draws_of_noise_differ_by_pass_and_photo(model_weights):
    """The names under which noise is drawn differ from pass to pass and repeat from call to call."""
    solver = PhotoSolver(make_image_config({"model": MODEL, "weights": model_weights, "size": 96}))
    seen = []

    class Recorder:
        def extract(self, pixels, layers, tensors, ids):
            seen.append(tuple(ids))

    solver.model = Recorder()
    for draw in (0, 1):
        solver.extract(np.zeros((2, 32, 32, 3), np.uint8), ["x", "y"], draw)
    assert len({name for ids in seen for name in ids}) == 4
    noise = Noise(0, 500, 0)
    steps = [noise.draw(ids, (1,))[0].tolist() for ids in seen]
    assert steps[0] != steps[1] and solver.passes == 1


def test_importing_the_command_line_stays_light():
    code = "import sys, spectral_graph.cli.commands; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"timm", "matplotlib", "sklearn"}
