"""Which file is whose label map, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.errors import DataError, ImageError

HALVES = np.repeat(np.array([[1, 2]], np.uint8), 4, axis=0).repeat(3, axis=1)


@pytest.fixture
def root(tmp_path, write_photo) -> Path:
    for name in ("a", "b", "c", "d"):
        write_photo(tmp_path / "images" / f"{name}.jpg", 4, 6)
    (tmp_path / "labels").mkdir()
    return tmp_path


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(HALVES).save(path)


def labelled(root: Path) -> dict[str, str]:
    records = open_dataset("folder", root).records
    return {r.id: r.label.relative_to(root / "labels").as_posix() for r in records if r.label is not None}


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".TIFF", ".bmp", ".jpg.png", ".jpg.TIF"])
def test_a_label_map_has_the_path_of_its_photo(root, suffix):
    put(root, f"a{suffix}")
    assert labelled(root) == {"a": f"a{suffix}"}
    dataset = open_dataset("folder", root)
    assert dataset.classes == ("1", "2") and "4 photos, 1 with label maps, 3 without" in dataset.notes[0]
    np.testing.assert_array_equal(dataset.read_label(dataset.records[0]), HALVES - 1)


@pytest.mark.parametrize("name", ["{}_mask.png", "{}_label.png", "{}_labelIds.png", "0{}.png", "x/{}.png", "{}.npy"])
def test_label_files_of_no_photo_are_refused_if_all_are_and_counted_otherwise(root, name):
    for stem in "abcd":
        (root / "labels" / "x").mkdir(exist_ok=True)
        Image.fromarray(HALVES).save(root / "labels" / name.format(stem), "PNG")
    first = name.format("a")
    with pytest.raises(DataError) as caught:
        open_dataset("folder", root)
    assert first in str(caught.value) and "4 files" in str(caught.value) and str(root / "labels") in str(caught.value)
    put(root, "b.png")
    notes = open_dataset("folder", root).notes
    assert any("4 files" in note and first in note for note in notes)
    assert labelled(root) == {"b": "b.png"}


def test_the_folder_is_refused_only_where_labels_are_asked_for(root):
    from spectral_graph.per_image.command import list_photos

    put(root, "a_mask.png")
    assert [name for name, _ in list_photos([root], print)] == ["a", "b", "c", "d"]


def test_an_empty_folder_of_labels_is_said(root):
    dataset = open_dataset("folder", root)
    assert dataset.classes == () and any("labels/ is empty" in note for note in dataset.notes)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".gif", ".webp"])
def test_formats_that_do_not_keep_class_numbers(root, suffix):
    put(root, *(f"{stem}{suffix}" for stem in "abcd"))
    with pytest.raises(DataError) as caught:
        open_dataset("folder", root)
    assert f"a{suffix}" in str(caught.value) and "4 label maps" in str(caught.value)
    put(root, "a.png")
    dataset = open_dataset("folder", root)
    assert [identity for identity, _ in dataset.unreadable_labels] == ["b", "c", "d"]
    assert any("3 of 4 label maps" in note for note in dataset.notes)
    # The format counts, not the name.
    (root / "labels" / f"b{suffix}").rename(root / "labels" / "b.png")
    dataset = open_dataset("folder", root)
    with pytest.raises(ImageError, match=r"b\.png"):
        dataset.read_label(dataset.records[1])


def test_two_label_maps_of_one_photo(root):
    put(root, "a.png", "a.tif", "b.png")
    with pytest.raises(DataError) as caught:
        open_dataset("folder", root)
    assert "a.png" in str(caught.value) and "a.tif" in str(caught.value)


def test_photos_that_differ_in_their_suffix_alone(root, write_photo):
    write_photo(root / "images" / "a.png", 4, 6)
    put(root, "a.jpg.png", "a.png.png", "b.png")
    assert labelled(root) == {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "b": "b.png"}
    (root / "labels" / "a.jpg.png").unlink()
    (root / "labels" / "a.png.png").rename(root / "labels" / "a.png")
    assert any("labels/a.png is the label map of 2 photos" in note for note in open_dataset("folder", root).notes)


def test_composed_and_decomposed_letters_are_equal(root):
    (root / "images" / "a.jpg").rename(root / "images" / "caf\u00e9.jpg")
    put(root, "cafe\u0301.png")
    assert list(labelled(root)) == ["caf\u00e9"]


def test_a_pipe_is_no_label_map(root):
    put(root, "b.png")
    os.mkfifo(root / "labels" / "a.png")
    dataset = open_dataset("folder", root)
    with pytest.raises(ImageError, match=r"a\.png"):
        dataset.read_label(dataset.records[0])


@pytest.mark.parametrize("name", ["masks", "Labels", "annotations", "gt", "label"])
@pytest.mark.parametrize("images", ["images", ".", "train/images"])
def test_label_maps_are_not_taken_for_photos(tmp_path, write_photo, name, images):
    write_photo(tmp_path / images / "a.jpg", 4, 6)
    other = (tmp_path / images / ".." if images != "." else tmp_path) / name
    other.mkdir()
    Image.fromarray(HALVES).save(other / "a.png")
    with pytest.raises(DataError) as caught:
        open_dataset("folder", tmp_path)
    assert name in str(caught.value) and "labels/" in str(caught.value)
    if images != ".":
        assert len(open_dataset("folder", tmp_path / images).records) == 1
    # A folder of that name with photos of its own is an ordinary one.
    (other / "a.png").rename(other / "other.png")
    assert len(open_dataset("folder", tmp_path).records) == 2
