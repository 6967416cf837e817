"""Cityscapes, PASCAL VOC and CamVid: written in their published layout, and the real files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.indexed import CamVid, Cityscapes, Voc
from spectral_graph.errors import DataError, ImageError, MissingDataError


@pytest.fixture
def cityscapes(tmp_path, write_photo, write_map):
    for key in ("ulm_000001_000019", "aachen_000002_000019", "aachen_000001_000019"):
        city = key.split("_")[0]
        write_photo(tmp_path / "leftImg8bit" / "val" / city / f"{key}_leftImg8bit.png", 2, 4)
        folder = tmp_path / "gtFine" / "val" / city
        write_map(folder / f"{key}_gtFine_labelIds.png", [[0, 6, 7, 8], [26, 33, 255, 23]])
        # Its neighbours in the official archive.
        write_map(folder / f"{key}_gtFine_instanceIds.png", [[9]])
        write_map(folder / f"{key}_gtFine_color.png", [[9]])
    return tmp_path


def test_cityscapes(cityscapes):
    dataset = open_dataset("cityscapes", cityscapes)
    assert (dataset.name, dataset.split, len(dataset.classes)) == ("cityscapes", "val", 27)
    assert [r.id for r in dataset.records] == ["aachen_000001_000019", "aachen_000002_000019", "ulm_000001_000019"]
    label = dataset.read_label(dataset.records[0])
    np.testing.assert_array_equal(label, [[-1, -1, 0, 1], [19, 26, -1, 16]])
    assert [dataset.classes[i] for i in (0, 1, 19, 26, 16)] == ["road", "sidewalk", "car", "bicycle", "sky"]
    assert dataset.read_image(dataset.records[0]).size == (4, 2)


def test_cityscapes_parts_missing(cityscapes):
    (cityscapes / "gtFine" / "val" / "aachen" / "aachen_000002_000019_gtFine_labelIds.png").unlink()
    dataset = Cityscapes(cityscapes)
    assert [r.label is None for r in dataset.records] == [False, True, False]
    with pytest.raises(MissingDataError, match=r"'train'.*leftImg8bit"):
        Cityscapes(cityscapes, "train")
    (cityscapes / "gtFine").rename(cityscapes / "gtCoarse")
    with pytest.raises(MissingDataError, match=r"`dataset=folder`"):
        Cityscapes(cityscapes)
    (cityscapes / "leftImg8bit").rename(cityscapes / "x")
    with pytest.raises(MissingDataError, match=r"`root`"):
        Cityscapes(cityscapes)


def test_a_city_without_maps(cityscapes, write_photo):
    write_photo(cityscapes / "leftImg8bit" / "val" / "bonn" / "bonn_000000_000019_leftImg8bit.png")
    assert Cityscapes(cityscapes).records[2].id == "bonn_000000_000019"
    assert Cityscapes(cityscapes).records[2].label is None


@pytest.fixture
def voc(tmp_path, write_photo, write_map):
    for key, palette in (("2007_000033", True), ("2007_000032", False)):
        write_photo(tmp_path / "JPEGImages" / f"{key}.jpg", 2, 3)
        write_map(tmp_path / "SegmentationClass" / f"{key}.png", [[0, 1, 15], [255, 20, 0]], palette)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000033\n2007_000032\n")
    (lists / "train.txt").write_text("2007_000032\n2008_999999\n")
    return tmp_path


def test_voc_palette_and_grey_maps(voc):
    dataset = open_dataset("voc", voc)
    assert (dataset.name, dataset.split, len(dataset.classes)) == ("voc", "val", 21)
    assert [r.id for r in dataset.records] == ["2007_000032", "2007_000033"]
    modes = []
    for record in dataset.records:
        with Image.open(record.label) as image:
            modes.append(image.mode)
        np.testing.assert_array_equal(dataset.read_label(record), [[0, 1, 15], [-1, 20, 0]])
    assert modes == ["L", "P"]


@pytest.mark.parametrize("below", ["VOC2012", "VOCdevkit/VOC2012"])
def test_voc_as_its_archive_unpacks(voc, tmp_path_factory, below):
    root = tmp_path_factory.mktemp("voc")
    (root / below).parent.mkdir(parents=True, exist_ok=True)
    voc.rename(root / below)
    assert len(Voc(root).records) == 2


def test_voc_parts_missing(voc, tmp_path):
    train = Voc(voc, "train")
    assert train.records[1].label is None
    with pytest.raises(ImageError, match=r"2008_999999\.jpg"):
        train.read_image(train.records[1])
    with pytest.raises(MissingDataError, match=r"'test'"):
        Voc(voc, "test")
    with pytest.raises(MissingDataError, match=r"`root`"):
        Voc(voc / "JPEGImages")
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nb\nb\n")
    with pytest.raises(DataError, match=r"val\.txt.*2"):
        Voc(voc)
    (voc / "SegmentationClass").rename(voc / "x")
    with pytest.raises(MissingDataError, match=r"no folder with the label maps: looked for .*SegmentationClass"):
        Voc(voc)


def test_voc_refuses_the_coloured_picture(voc):
    Image.new("RGB", (3, 2)).save(voc / "SegmentationClass" / "2007_000032.png")
    dataset = Voc(voc)
    with pytest.raises(ImageError, match=r"2007_000032\.png"):
        dataset.read_label(dataset.records[0])


def test_an_empty_list_is_an_empty_data_set(voc):
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"the data set voc \(split val\) has no image"):
        open_dataset("voc", voc)


@pytest.fixture
def camvid(tmp_path, write_photo, write_map):
    for split, names in (("train", "ab"), ("val", "dc")):
        for name in names:
            write_photo(tmp_path / split / f"{name}.png", 2, 3)
            write_map(tmp_path / f"{split}annot" / f"{name}.png", [[0, 3, 10], [11, 8, 1]])
    return tmp_path


def test_camvid(camvid):
    (camvid / "valannot" / "d.png").unlink()
    dataset = open_dataset("camvid", camvid)
    assert (dataset.name, dataset.split, len(dataset.classes)) == ("camvid", "val", 11)
    assert [r.id for r in dataset.records] == ["c", "d"]
    assert dataset.records[1].label is None
    np.testing.assert_array_equal(dataset.read_label(dataset.records[0]), [[0, 3, 10], [-1, 8, 1]])
    assert [r.id for r in CamVid(camvid, "train").records] == ["a", "b"]


def test_camvid_parts_missing(camvid):
    with pytest.raises(MissingDataError, match=r"'test'"):
        CamVid(camvid, "test")
    with pytest.raises(MissingDataError, match="no split is there"):
        CamVid(camvid / "train")
    (camvid / "valannot").rename(camvid / "x")
    with pytest.raises(MissingDataError, match=r"no folder with the label maps: looked for .*valannot"):
        CamVid(camvid)


@pytest.mark.parametrize(
    ("name", "folder", "split", "count", "classes"),
    [
        ("cityscapes", "cityscapes", "train", 4, 27),
        ("voc", "voc2012", None, 10, 21),
        ("camvid", "camvid", None, 101, 11),
        ("camvid", "camvid", "train", 60, 11),
    ],
)
def test_the_real_files(shared_data, name, folder, split, count, classes):
    dataset = open_dataset(name, shared_data / folder, split)
    assert len(dataset.records) == count and len(dataset.classes) == classes
    seen: set[int] = set()
    for record in dataset.records:
        label = dataset.read_label(record)
        with Image.open(record.image) as image:
            assert label.shape == image.size[::-1]
        seen |= set(np.unique(label).tolist())
    assert -1 in seen and max(seen) == classes - 1
    # Every file decodes to the end.
    assert dataset.read_image(dataset.records[-1]).mode == "RGB"
