"""Whole runs over the four smallest photos of the built-in sample, with label maps of two halves."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from spectral_graph.cli.commands import main
from spectral_graph.config import make_config
from spectral_graph.data import open_dataset
from spectral_graph.data.sample import SAMPLE_FOLDER
from spectral_graph.stages.label_checks import check_labels, cluster_count


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for path in sorted((SAMPLE_FOLDER / "images").iterdir(), key=lambda path: path.stat().st_size)[:4]:
        shutil.copy(path, root / "images")
    return root


def put(root, left, right, dtype=np.uint8, name="{}.png"):
    for path in (root / "images").iterdir():
        with Image.open(path) as photo:
            values = np.full((photo.height, photo.width), left, dtype)
        values[:, values.shape[1] // 2 :] = right
        Image.fromarray(values).save(root / "labels" / name.format(path.stem), "PNG")


def call(capsys, options, root, out, *more):
    """Return the exit code, what was said, and the notes before the first stage."""
    options = {**options, "root": root, "kinds": "vv", "kmeans_seeds": "0", "layers": "5"}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    code = main(["build", "--out", str(out), *flags, *more])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return code, said, said.split("extract")[0]


@pytest.mark.parametrize(
    ("values", "dtype", "classes"),
    [
        ((0, 255), np.uint8, ["0", "255"]),
        ((10, 200), np.uint8, ["10", "200"]),
        ((40_000, 65_534), np.uint16, ["40000", "65534"]),
    ],
)
def test_two_values_are_two_classes_and_two_regions(capsys, options, photos, tmp_path, values, dtype, classes):
    put(photos, *values, dtype=dtype)
    code, _, before = call(capsys, options, photos, tmp_path / "run")
    assert code == 0
    assert "4 photos, 4 with label maps" in before and str(values[1]) in before
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["dataset"]["classes"] == classes and found["dataset"]["unreadable_labels"] == []
    for method in found["methods"].values():
        assert method["clusters"] == 2 and list(method["class_pixels"]) == classes
        assert method["pixels_ignored"] == 0 and min(method["class_pixels"].values()) > 0
        assert np.array(method["seeds"][0]["confusion"]).shape == (2, 2)
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert all(name in page for name in classes)
    if values == (0, 255):
        _ignore_belongs_to_the_regions(capsys, options, photos, tmp_path / "run")


def _ignore_belongs_to_the_regions(capsys, options, photos, run):
    features = (run / "images.json").stat().st_mtime_ns
    code, said, _ = call(capsys, options, photos, run, "--ignore", "255")
    assert code == 2 and "--ignore" in said and "--force segment" in said
    assert call(capsys, options, photos, run, "--ignore", "255", "--force", "segment")[0] == 0
    found = json.loads((run / "metrics.json").read_text())
    assert found["dataset"]["classes"] == ["0"] and found["config"]["ignore"] == "255"
    assert (run / "images.json").stat().st_mtime_ns == features


def test_one_class_does_not_make_one_region(photos):
    put(photos, 7, 65_535, dtype=np.uint16)
    dataset = open_dataset("folder", photos)
    assert dataset.classes == ("7",) and any("single class" in note for note in dataset.notes)
    config = make_config({"dataset": "folder", "root": photos})
    assert cluster_count(config, dataset) == 10
    assert any("10" in note and "`clusters`" in note for note in check_labels(config, dataset))
    config = make_config({"dataset": "folder", "root": photos, "clusters": 2})
    assert cluster_count(config, dataset) == 2 and check_labels(config, dataset) == ()


@pytest.mark.parametrize("name", ["{}_mask.png", "{}.jpg", "{}"])
def test_label_files_of_no_photo_end_the_run_before_it_begins(capsys, options, photos, tmp_path, name):
    put(photos, 0, 1, name=name)
    if name == "{}.jpg":
        for path in (photos / "labels").iterdir():
            Image.open(path).convert("L").save(path, "JPEG")
    code, said, _ = call(capsys, options, photos, tmp_path / "run")
    assert code == 2 and not (tmp_path / "run").exists()
    assert str(photos / "labels") in said.splitlines()[-1]


def test_label_maps_that_cannot_be_used_are_refused_at_the_start(capsys, options, photos, tmp_path):
    put(photos, 0, 1)
    next((photos / "labels").iterdir()).write_bytes(b"no image")
    code, said, _ = call(capsys, options, photos, tmp_path / "run", "--bad-images", "refuse")
    assert code == 2 and not (tmp_path / "run").exists()
    assert ".png" in said.splitlines()[-1]


def test_a_confusion_matrix_that_is_too_large_is_refused_at_the_start(capsys, options, photos, tmp_path):
    put(photos, 0, 1)
    (photos / "classes.txt").write_text("\n".join(map(str, range(4000))))
    code, said, _ = call(capsys, options, photos, tmp_path / "run", "--clusters", "5000")
    assert code == 2 and not (tmp_path / "run").exists()
    assert "--clusters 5000" in said.splitlines()[-1] and "4000 classes" in said.splitlines()[-1]
