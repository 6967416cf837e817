from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spectral_graph.data import DATASETS, open_dataset
from spectral_graph.errors import ConfigError, MissingDataError


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("SPECTRAL_GRAPH_DATA", raising=False)


@pytest.fixture
def camvid(tmp_path, write_photo, write_map):
    root = tmp_path / "data" / "camvid"
    for name in "edcba":
        write_photo(root / "val" / f"{name}.png", 2, 3)
        write_map(root / "valannot" / f"{name}.png", [[0, 3, 10], [11, 8, 1]])
    return root


def test_limit_takes_the_first(camvid):
    assert [r.id for r in open_dataset("camvid", camvid, limit=2).records] == ["a", "b"]
    assert len(open_dataset("camvid", camvid, limit=99).records) == 5


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(camvid, limit):
    with pytest.raises(ConfigError, match=f"{limit}"):
        open_dataset("camvid", camvid, limit=limit)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'imagenet'"):
        open_dataset("imagenet", tmp_path)
    with pytest.raises(ConfigError, match="labels 'medium' is unknown"):
        open_dataset("coco", tmp_path, labels="medium")


@pytest.mark.parametrize("name", ["cityscapes", "voc", "camvid", "folder"])
def test_fine_labels_of_a_data_set_without_them(tmp_path, name):
    with pytest.raises(ConfigError, match=f"{name}"):
        open_dataset(name, tmp_path, labels="fine")


def test_a_root_that_is_no_folder(tmp_path):
    with pytest.raises(MissingDataError, match=r"`root=.*nowhere`"):
        open_dataset("coco", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(MissingDataError, match="is not a folder"):
        open_dataset("folder", tmp_path / "file")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "coco"])
def test_no_root_and_no_variable(name):
    with pytest.raises(MissingDataError, match=rf"{name}.*`root`"):
        open_dataset(name)


def test_coco_without_a_root_is_the_sample():
    dataset = open_dataset("coco")
    assert dataset.split == "sample" and len(dataset.records) == 26
    assert dataset.notes == ("no `root` and no SPECTRAL_GRAPH_DATA: using the built-in sample of 26 COCO photos",)
    limited = open_dataset("coco", limit=3)
    assert len(limited.records) == 3 and "26 COCO photos" in limited.notes[0]


def test_another_split_is_never_replaced_by_the_sample():
    with pytest.raises(MissingDataError, match="'val2017'"):
        open_dataset("coco", split="val2017")


def test_the_sample_can_be_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(tmp_path))
    dataset = open_dataset("coco", split="sample")
    assert len(dataset.records) == 26 and dataset.notes == ()
    with pytest.raises(ConfigError, match="the built-in sample has one set of classes"):
        open_dataset("coco", split="sample", labels="fine")


def test_the_variable_names_the_parent_or_the_folder_itself(monkeypatch, camvid, write_photo):
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(camvid.parent))
    assert len(open_dataset("camvid").records) == 5
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(camvid))
    assert len(open_dataset("camvid").records) == 5
    # With a variable, a missing COCO is an error: the sample does not stand in for it.
    with pytest.raises(MissingDataError, match="'val2017'"):
        open_dataset("coco")


def test_voc_may_be_called_voc2012(monkeypatch, tmp_path, write_photo, write_map):
    root = tmp_path / "voc2012"
    write_photo(root / "JPEGImages" / "a.jpg")
    write_map(root / "SegmentationClass" / "a.png", [[0]])
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(tmp_path))
    assert len(open_dataset("voc").records) == 1


def test_a_variable_that_is_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(MissingDataError, match=r"SPECTRAL_GRAPH_DATA="):
        open_dataset("coco")


def test_the_root_goes_before_the_variable(monkeypatch, camvid, tmp_path):
    monkeypatch.setenv("SPECTRAL_GRAPH_DATA", str(tmp_path / "nowhere"))
    assert len(open_dataset("camvid", camvid).records) == 5


def test_the_import_is_cheap():
    code = (
        "import sys, spectral_graph.data; "
        "print([m for m in ('torch', 'scipy', 'sklearn', 'zarr', 'timm', 'matplotlib') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
