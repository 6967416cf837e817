from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.folder import ImageFolder
from spectral_graph.errors import ConfigError, DataError, ImageError


def test_images_are_found_recursively(tmp_path, write_photo):
    for name in ("b.jpg", "a.JPEG", "x/y/z.png", "x/w.webp", "v.bmp", "u.tif", "t.tiff"):
        write_photo(tmp_path / name)
    for name in ("notes.txt", "sub/clip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    write_photo(tmp_path / ".cache" / "hidden.png")
    write_photo(tmp_path / "._b.png")
    dataset = open_dataset("folder", tmp_path)
    assert [r.id for r in dataset.records] == ["a", "b", "t", "u", "v", "x/w", "x/y/z"]
    assert dataset.classes == () and dataset.split == ""
    assert all(r.label is None and dataset.read_label(r) is None for r in dataset.records)
    assert all(dataset.read_image(r).mode == "RGB" for r in dataset.records)


def test_equal_stems_keep_their_suffix(tmp_path, write_photo):
    for name in ("a.jpg", "a.png", "b.png"):
        write_photo(tmp_path / name)
    assert [r.id for r in ImageFolder(tmp_path).records] == ["a.jpg", "a.png", "b"]


def test_linked_folders_are_followed_once(tmp_path, write_photo):
    write_photo(tmp_path / "elsewhere" / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(root)
    assert [r.id for r in ImageFolder(root).records] == ["link/a"]


def test_no_image(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"\.jpg.*`root`"):
        open_dataset("folder", tmp_path)


def test_a_split_is_refused(tmp_path, write_photo):
    write_photo(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="'val'"):
        open_dataset("folder", tmp_path, "val")


@pytest.fixture
def labelled(tmp_path, write_photo, write_map):
    for name in ("a.jpg", "deep/b.png", "c.jpg"):
        write_photo(tmp_path / "images" / name, 2, 3)
    write_map(tmp_path / "labels" / "a.png", [[0, 4, 255], [1, 1, 1]])
    write_map(tmp_path / "labels" / "deep" / "b.PNG", [[2, 2, 2], [255, 255, 255]], palette=True)
    write_map(tmp_path / "labels" / "stray.png", [[77]])
    return tmp_path


def test_label_maps(labelled):
    dataset = open_dataset("folder", labelled)
    assert [r.id for r in dataset.records] == ["a", "c", "deep/b"]
    assert [r.label is None for r in dataset.records] == [False, True, False]
    assert dataset.classes == ("0", "1", "2", "4")
    np.testing.assert_array_equal(dataset.read_label(dataset.records[0]), [[0, 3, -1], [1, 1, 1]])
    np.testing.assert_array_equal(dataset.read_label(dataset.records[2]), [[2, 2, 2], [-1, -1, -1]])
    assert dataset.read_label(dataset.records[0]).dtype == np.int16


def test_a_damaged_label_map_does_not_stop_the_others(labelled):
    (labelled / "labels" / "a.png").write_bytes(b"damaged")
    dataset = open_dataset("folder", labelled)
    assert dataset.classes == ("2",)
    with pytest.raises(ImageError, match=r"a\.png"):
        dataset.read_label(dataset.records[0])


def test_more_than_255_classes(labelled):
    Image.fromarray(np.array([[300, 255, 0]], np.uint16)).save(labelled / "labels" / "a.png")
    dataset = ImageFolder(labelled)
    assert dataset.classes == ("0", "2", "300")
    np.testing.assert_array_equal(dataset.read_label(dataset.records[0]), [[2, -1, 0]])


def test_named_classes(labelled):
    (labelled / "classes.txt").write_text("sky\n tall tree \nroad\nd\ne\n\n")
    dataset = ImageFolder(labelled)
    assert dataset.classes == ("sky", "tall tree", "road", "d", "e")
    assert dataset.read_label(dataset.records[0])[0, 1] == 4
    (labelled / "classes.txt").write_text("sky\ntree\nroad\n")
    dataset = ImageFolder(labelled)
    with pytest.raises(ImageError, match=r"a\.png.*4"):
        dataset.read_label(dataset.records[0])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\n\nb\n", b"a\na\n", b"\xff\xfe"])
def test_damaged_class_names(labelled, content):
    (labelled / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"classes\.txt: the class names"):
        ImageFolder(labelled)


def test_only_photos_without_label_maps_are_turned(labelled):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "c"):
        Image.new("RGB", (3, 2)).save(labelled / "images" / f"{name}.jpg", exif=exif)
    dataset = ImageFolder(labelled)
    assert dataset.read_image(dataset.records[0]).size == (3, 2)
    assert dataset.read_image(dataset.records[1]).size == (2, 3)


def test_classes_follow_the_limit(labelled):
    assert open_dataset("folder", labelled, limit=1).classes == ("0", "1", "4")
    (labelled / "images" / "a.jpg").unlink()
    assert open_dataset("folder", labelled, limit=1).classes == ()


def test_images_alone_is_an_ordinary_folder(tmp_path, write_photo):
    write_photo(tmp_path / "images" / "a.png")
    write_photo(tmp_path / "b.png")
    assert [r.id for r in ImageFolder(tmp_path).records] == ["b", "images/a"]
