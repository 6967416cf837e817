"""From stored values to classes: gaps, masks, 16 bits, and the values that are ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.text_file import MOST_CLASSES
from spectral_graph.errors import ConfigError, DataError, ImageError


@pytest.fixture
def make(tmp_path, write_photo):
    """Returns a function that writes four photos with label maps of two halves and returns the folder."""

    def write(*halves: tuple[int, int], dtype: object = np.uint8, names: str | None = None) -> Path:
        for index in range(4):
            write_photo(tmp_path / "images" / f"{index}.jpg", 4, 6)
            values = np.repeat(np.array([halves[index % len(halves)]], dtype), 4, axis=0).repeat(3, axis=1)
            (tmp_path / "labels").mkdir(exist_ok=True)
            suffix = "png" if np.dtype(dtype).kind == "u" else "tif"
            Image.fromarray(values).save(tmp_path / "labels" / f"{index}.{suffix}")
        if names is not None:
            (tmp_path / "classes.txt").write_text(names)
        return tmp_path

    return write


def halves(root: Path, ignore: str = "auto") -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the classes, and both halves of each label map as class ids."""
    dataset = open_dataset("folder", root, ignore=ignore)
    found = [dataset.read_label(record) for record in dataset.records]
    assert all(label.dtype == np.int16 for label in found)
    return dataset.classes, [[int(label[0, 0]), int(label[0, -1])] for label in found]


@pytest.mark.parametrize(
    ("values", "dtype", "ignore", "classes", "first"),
    [
        ((10, 200), np.uint8, "auto", ("10", "200"), [0, 1]),
        ((40_000, 7), np.uint16, "auto", ("7", "40000"), [1, 0]),
        ((7, 65_535), np.uint16, "auto", ("7",), [0, -1]),
        ((0, 255), np.uint8, "auto", ("0", "255"), [0, 1]),
        ((0, 65_535), np.uint16, "auto", ("0", "65535"), [0, 1]),
        ((1, 255), np.uint8, "auto", ("1",), [0, -1]),
        ((3, -1), np.int32, "auto", ("3",), [0, -1]),
        ((2**31 - 1, 3), np.int32, "auto", ("3", str(2**31 - 1)), [1, 0]),
        ((3.0, 4.0), np.float32, "auto", ("3", "4"), [0, 1]),
        ((0, 255), np.uint8, "255", ("0",), [0, -1]),
        ((0, 255), np.uint8, "none", ("0", "255"), [0, 1]),
        ((1, 255), np.uint8, "none", ("1", "255"), [0, 1]),
        ((0, 9), np.uint8, "0", ("9",), [-1, 0]),
        ((10, 200), np.uint8, " 10, 77", ("200",), [-1, 0]),
    ],
)
def test_each_value_that_occurs_is_a_class_unless_it_is_ignored(make, values, dtype, ignore, classes, first):
    found, labels = halves(make(values, dtype=dtype), ignore)
    assert found == classes
    assert labels == [first] * 4


def test_255_is_ignored_beside_other_values(make):
    classes, labels = halves(make((0, 1), (1, 255)))
    assert classes == ("0", "1") and labels[1] == [1, -1]


def test_what_was_decided_is_said(make):
    root = make((0, 255))
    assert any("masks of 0 and 255" in note for note in open_dataset("folder", root).notes)
    notes = open_dataset("folder", root, ignore="255,9").notes
    assert any("value 255" in note and "4 label maps" in note for note in notes)
    assert any("9" in note for note in notes) and any("single class" in note for note in notes)
    notes = open_dataset("folder", make((10, 200))).notes
    assert "folder: 4 photos, 4 with label maps, 0 without" in notes and any("10, 200" in note for note in notes)


@pytest.mark.parametrize(
    ("values", "names", "ignore", "classes", "first"),
    [
        ((0, 2), "sky\ntree\nroad\n", "auto", ("sky", "tree", "road"), [0, 2]),
        ((0, 255), "ground\ndisc\n", "auto", ("ground", "disc"), [0, 1]),
        ((0, 255), "ground\ndisc\n", "255", ("ground", "disc"), [0, -1]),
        ((0, 255), "sky\ntree\nroad\n", "auto", ("sky", "tree", "road"), [0, -1]),
        ((0, 2), "void\ntree\nroad\n", "0", ("tree", "road"), [-1, 1]),
        ((0, 255), "\n".join(map(str, range(1000, 1300))), "auto", tuple(map(str, range(1000, 1300))), [0, 255]),
    ],
)
def test_line_i_of_classes_txt_names_value_i(make, values, names, ignore, classes, first):
    found, labels = halves(make(values, names=names), ignore)
    assert found == classes
    assert labels == [first] * 4


def test_values_that_classes_txt_does_not_name_are_counted_at_the_start(make):
    root = make((0, 1), (1, 7), names="a\nb\n")
    dataset = open_dataset("folder", root)
    assert [identity for identity, _ in dataset.unreadable_labels] == ["1", "3"]
    assert any("2 of 4 label maps" in note and "value 7" in note for note in dataset.notes)
    with pytest.raises(ImageError, match=r"1\.png: label value 7"):
        dataset.read_label(dataset.records[1])
    (root / "classes.txt").write_text("a\n")
    with pytest.raises(DataError, match="4 label maps"):
        open_dataset("folder", root)


@pytest.mark.parametrize(("values", "ignore"), [((255, 255), "auto"), ((3, 4), "3,4"), ((255, 65_535), "auto")])
def test_label_maps_without_a_labelled_pixel_are_refused(make, values, ignore):
    root = make(values, dtype=np.uint16)
    with pytest.raises(DataError) as caught:
        open_dataset("folder", root, ignore=ignore)
    assert str(values[0]) in str(caught.value) and "`ignore`" in str(caught.value)


def test_numbers_of_objects_are_no_classes(make):
    root = make((0, 1))
    depth = np.arange(MOST_CLASSES + 10, dtype=np.uint16).reshape(2, -1)
    Image.fromarray(depth).save(root / "labels" / "2.png")
    with pytest.raises(DataError) as caught:
        open_dataset("folder", root)
    assert "2.png" in str(caught.value) and str(MOST_CLASSES) in str(caught.value)


@pytest.mark.parametrize("ignore", ["", "x", "1,,2", "1.5", str(2**31), "auto,3", "\u0663x"])
def test_wrong_values_of_ignore(make, ignore):
    with pytest.raises(ConfigError) as caught:
        open_dataset("folder", make((0, 1)), ignore=ignore)
    assert f"`ignore={ignore!a}`" in str(caught.value)


@pytest.mark.parametrize("name", ["coco", "voc", "camvid", "cocostuff", "cityscapes"])
def test_other_data_sets_have_fixed_values(tmp_path, name):
    with pytest.raises(ConfigError, match="`ignore=0`: .*" + name):
        open_dataset(name, tmp_path, ignore="0")
