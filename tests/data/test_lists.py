"""Lists of images, class names, and the files that lists name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spectral_graph.data import open_dataset
from spectral_graph.data.folder import ImageFolder
from spectral_graph.data.text_file import MOST_CLASSES
from spectral_graph.errors import ConfigError, DataError, SpectralGraphError, UnsafePathError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.fixture
def voc(tmp_path, write_photo, write_map) -> Path:
    for name in ("a", "b 1", "c"):
        write_photo(tmp_path / "JPEGImages" / f"{name}.jpg", 2, 3)
        write_map(tmp_path / "SegmentationClass" / f"{name}.png", [[0, 1, 15], [255, 20, 0]])
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    return tmp_path


def ids(root: Path, content: str | bytes) -> list[str]:
    target = root / "ImageSets" / "Segmentation" / "val.txt"
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return [record.id for record in open_dataset("voc", root).records]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_text_file_is_read_in_one_way(voc, write_photo, encoding, end):
    text = end.join(["a", "b 1 ", "", "\tc"]) + end
    assert ids(voc, text.encode(encoding)) == ["a", "b 1", "c"]
    (voc / "classes.txt").write_bytes(text.replace(f"{end}{end}", end).encode(encoding))
    write_photo(voc / "images" / "x.png")
    assert ImageFolder(voc).classes == ("a", "b 1", "c")
    curated = voc / "curated" / "val2017" / "Coco164kFull_Stuff_Coarse_7.txt"
    curated.parent.mkdir(parents=True)
    curated.write_bytes(text.encode(encoding))
    (voc / "JPEGImages").rename(voc / "val2017")
    (voc / "annotations").mkdir()
    (voc / "SegmentationClass").rename(voc / "annotations" / "val2017")
    dataset = open_dataset("cocostuff", voc)
    assert [record.id for record in dataset.records] == ["a", "b 1", "c"]
    assert all(record.label is not None for record in dataset.records)


def test_a_second_column_is_left_out_and_names_with_spaces_are_not_cut(voc):
    assert ids(voc, "a  1\nb 1\nc\t-1\n") == ["a", "b 1", "c"]
    assert ids(voc, "b 1 -1\n") == ["b"]
    dataset = open_dataset("voc", voc)
    assert dataset.records[0].label is None and "b.jpg" in dataset.notes[0]


def test_names_may_have_their_suffix_and_folders(voc, write_photo, write_map):
    write_photo(voc / "JPEGImages" / "x" / "a.png", 2, 3)
    write_map(voc / "SegmentationClass" / "x" / "a.PNG", [[1]])
    assert ids(voc, "a.jpg\nx/a\n") == ["a", "x/a"]
    assert [record.label.name for record in open_dataset("voc", voc).records] == ["a.png", "a.PNG"]


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".JPG", ".tif", ".bmp"])
def test_photos_of_other_formats_are_found(voc, write_photo, suffix):
    write_photo(voc / "JPEGImages" / f"d.2{suffix}", 2, 3)
    assert ids(voc, "a\nd.2\n") == ["a", "d.2"]
    dataset = open_dataset("voc", voc)
    assert dataset.read_image(dataset.records[1]).size == (3, 2)
    (voc / "JPEGImages").rename(voc / "val2017")
    (voc / "annotations").mkdir()
    (voc / "SegmentationClass").rename(voc / "annotations" / "val2017")
    (voc / "annotations" / "val2017" / "a.png").rename(voc / "annotations" / "val2017" / "d.2.tif")
    found = [record.image.name for record in open_dataset("cocostuff", voc).records]
    assert found == ["b 1.jpg", "c.jpg", f"d.2{suffix}"]


@pytest.mark.parametrize(
    "name",
    ["../private", "/etc/private", "x/../../private", "x//a", "./a", "x\\a", "C:/a", "a\0b", "a\x07b", "n" * 300],
)
def test_a_list_cannot_name_a_file_outside_its_folder(voc, write_photo, name):
    write_photo(voc / "private.jpg")
    with pytest.raises(SpectralGraphError) as caught:
        ids(voc, f"a\n{name}\n")
    # A NUL character makes the list a file of another kind.
    assert isinstance(caught.value, DataError if "\0" in name else UnsafePathError)
    assert "val.txt" in str(caught.value)
    assert isinstance(caught.value, DataError) or ascii(name).strip("'")[:100] in str(caught.value)


def test_a_linked_folder_of_the_user_is_followed(voc, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "photos"
    (voc / "JPEGImages").rename(elsewhere)
    (voc / "JPEGImages").symlink_to(elsewhere)
    assert ids(voc, "a\nb 1\n") == ["a", "b 1"]


@pytest.mark.parametrize("split", ["../../val", "/val", "a/b", "..", ".", "", "val\n", "a\\b"])
@pytest.mark.parametrize("name", ["voc", "coco", "cocostuff", "camvid", "cityscapes"])
def test_a_split_is_a_plain_name(voc, name, split):
    (voc / "val.txt").write_text("a\n")
    if name == "voc":
        ids(voc, "a\n")
    with pytest.raises(ConfigError) as caught:
        open_dataset(name, voc, split)
    assert ascii(split) in str(caught.value)


def test_an_image_that_is_listed_twice_is_named(voc):
    with pytest.raises(DataError) as caught:
        ids(voc, "a\nc\na.jpg\n")
    assert "val.txt" in str(caught.value) and " a " in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "pipe", "binary", "nul", "utf-8", "utf-16"])
def test_a_list_that_is_no_text_is_named(voc, kind):
    target = voc / "ImageSets" / "Segmentation" / "val.txt"
    (voc / "classes.txt").write_text("one\ntwo\n")
    for path in (target, voc / "classes.txt"):
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            content = {"binary": bytes(range(256)), "nul": b"a\0b\n", "utf-8": b"\xc3(", "utf-16": b"\xff\xfea\0b"}
            path.write_bytes(content[kind])
    with pytest.raises(DataError, match=r"val\.txt"):
        open_dataset("voc", voc)
    with pytest.raises(DataError, match=r"classes\.txt"):
        ImageFolder(voc)


def test_class_names_that_cannot_be_used(voc):
    for text in ("a\n\x1b[31mb\n", "a\n" * 2, "\n".join(map(str, range(MOST_CLASSES + 1)))):
        (voc / "classes.txt").write_text(text)
        with pytest.raises(DataError, match=r"classes\.txt"):
            ImageFolder(voc)


def test_photos_without_label_maps_and_missing_photos_are_counted_before_any_work(voc):
    ids(voc, "a\nb 1\nc\n")
    assert open_dataset("voc", voc).notes == ()
    (voc / "SegmentationClass" / "a.png").unlink()
    (voc / "JPEGImages" / "c.jpg").unlink()
    (note,) = open_dataset("voc", voc).notes
    assert "3 photos, 2 with label maps, 1 without" in note and "c.jpg" in note
    assert open_dataset("voc", voc, limit=1).notes[0].startswith("voc: 1 photos, 0 with")


def test_camvid_frames_of_other_formats(tmp_path, write_photo, write_map):
    for name in ("a.jpg", "b.PNG", "c.png", "c.jpg"):
        write_photo(tmp_path / "val" / name, 2, 3)
    for name in ("a.png", "b.bmp", "c.PNG"):
        write_map(tmp_path / "valannot" / name, [[1]])
    dataset = open_dataset("camvid", tmp_path)
    assert [record.image.name for record in dataset.records] == ["a.jpg", "b.PNG", "c.png"]
    assert all(dataset.read_label(record) is not None for record in dataset.records)
