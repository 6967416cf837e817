"""File names, ids and entries of COCO annotation files that no official file has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.coco import CocoPanoptic
from spectral_graph.errors import DataError, SpectralGraphError, UnsafePathError

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 3, "name": "car", "supercategory": "vehicle"},
]
SEGMENTS = [{"id": 7, "category_id": 1}, {"id": 70_000, "category_id": 3}]


def content(names: dict[Any, str]) -> dict[str, Any]:
    return {
        "images": [{"id": key, "file_name": f"{name}.jpg"} for key, name in names.items()],
        "annotations": [
            {"image_id": key, "file_name": f"{name}.png", "segments_info": [dict(segment) for segment in SEGMENTS]}
            for key, name in names.items()
        ],
        "categories": [dict(entry) for entry in CATEGORIES],
    }


def write(root: Path, found: object, encoding: str = "utf-8") -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "panoptic_val2017.json").write_bytes(json.dumps(found).encode(encoding))


@pytest.fixture
def root(tmp_path, write_photo) -> Path:
    values = np.array([[7, 70_000, 0]])
    label = np.stack([values % 256, values // 256 % 256, values // 65536], 2).astype(np.uint8)
    for name in ("1", "a/1", "b/1"):
        write_photo(tmp_path / "val2017" / f"{name}.jpg", 1, 3)
        path = tmp_path / "annotations" / "panoptic_val2017" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label).save(path)
    return tmp_path


def test_names_in_folders(root):
    write(root, content({1: "1", 2: "a/1", 3: "b/1"}))
    dataset = open_dataset("coco", root, labels="fine")
    assert [record.id for record in dataset.records] == ["1", "a/1", "b/1"]
    assert dataset.notes == ()
    for record in dataset.records:
        np.testing.assert_array_equal(dataset.read_label(record), [[0, 1, -1]])
        assert dataset.read_image(record).size == (3, 1)


def test_names_that_differ_in_their_suffix_alone(root, write_photo):
    write_photo(root / "val2017" / "1.png", 1, 3)
    found = content({1: "1", 2: "a/1"})
    found["images"][1]["file_name"] = "1.png"
    write(root, found)
    dataset = open_dataset("coco", root)
    assert [record.id for record in dataset.records] == ["1.jpg", "1.png"]
    assert all(dataset.read_label(record) is not None for record in dataset.records)


def test_ids_may_be_text(root):
    found = content({"one": "1", "two": "a/1"})
    for entry in found["categories"]:
        entry["id"] = str(entry["id"])
    for annotation in found["annotations"]:
        annotation["segments_info"] = [{**entry, "category_id": str(entry["category_id"])} for entry in SEGMENTS]
    write(root, found)
    dataset = open_dataset("coco", root, labels="fine")
    np.testing.assert_array_equal(dataset.read_label(dataset.records[1]), [[0, 1, -1]])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark(root, encoding):
    write(root, content({1: "1"}), encoding)
    assert [record.id for record in open_dataset("coco", root).records] == ["1"]


@pytest.mark.parametrize(
    "name",
    ["../../private.png", "/etc/private.png", "a/../../x.png", "a//1.png", ".", "a\\1.png", "a\0.png", "\ud800.png"],
)
@pytest.mark.parametrize("part", ["images", "annotations"])
def test_a_file_name_cannot_lead_outside(root, write_photo, part, name):
    write_photo(root.parent / "private.png")
    found = content({1: "1", 2: "a/1"})
    found[part][1]["file_name"] = name
    write(root, found)
    with pytest.raises(UnsafePathError) as caught:
        open_dataset("coco", root)
    assert "panoptic_val2017.json" in str(caught.value) and ascii(name).strip("'") in str(caught.value)


def test_annotations_of_images_that_are_not_listed(root):
    found = content({1: "1", 2: "a/1", 3: "b/1"})
    del found["images"][2]
    write(root, found)
    assert any("1 annotations" in note and "3" in note for note in open_dataset("coco", root).notes)
    found["images"] = [{**entry, "id": str(entry["id"])} for entry in found["images"]]
    write(root, found)
    with pytest.raises(DataError, match=r"panoptic_val2017\.json"):
        open_dataset("coco", root)


HOSTILE: list[Any] = [None, True, 1.5, float("nan"), "", "x", [], {}, -1, 0, 2**24, 2**31, 2**63, 10**400, [[]], [None]]


@pytest.mark.parametrize(
    "place",
    [
        ("images", 0, "id"),
        ("annotations", 0, "image_id"),
        ("annotations", 0, "segments_info"),
        ("annotations", 0, "segments_info", 0, "id"),
        ("annotations", 0, "segments_info", 0, "category_id"),
        ("categories", 0, "id"),
        ("categories", 0, "name"),
        ("categories", 0, "supercategory"),
    ],
)
def test_values_of_any_kind_are_a_data_error_or_work(root, place):
    for value in HOSTILE:
        found = content({1: "1", 2: "a/1"})
        *way, last = place
        target: Any = found
        for step in way:
            target = target[step]
        target[last] = value
        write(root, found)
        for labels in ("coarse", "fine"):
            try:
                dataset = open_dataset("coco", root, labels=labels)
            except DataError as error:
                assert "panoptic_val2017.json" in str(error)
                continue
            assert len(set(dataset.classes)) == len(dataset.classes) > 0
            for record in dataset.records:
                try:
                    dataset.read_label(record)
                except SpectralGraphError as error:
                    assert str(record.label) in str(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["images"].append(found["images"][0]),
        lambda found: found["annotations"].append(found["annotations"][0]),
        lambda found: found["categories"].append(found["categories"][0]),
        lambda found: found["annotations"][0]["segments_info"].append({"id": 7, "category_id": 3}),
        lambda found: found["categories"][1].update(name="person"),
        lambda found: found["categories"][1].update(name="\ud800"),
        lambda found: found["categories"].clear(),
    ],
)
def test_what_is_there_twice_or_cannot_be_shown(root, change):
    found = content({1: "1", 2: "a/1"})
    change(found)
    write(root, found)
    with pytest.raises(DataError, match=r"panoptic_val2017\.json"):
        CocoPanoptic(root, labels="fine")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "1" * 5000, "NaN", "nul", "\x00" * 9])
def test_text_that_is_hard_to_decode(root, text):
    write(root, {})
    (root / "annotations" / "panoptic_val2017.json").write_text(text)
    with pytest.raises(DataError, match=r"panoptic_val2017\.json"):
        CocoPanoptic(root)


def test_a_folder_of_that_name(root):
    (root / "annotations" / "panoptic_val2017.json").mkdir()
    with pytest.raises(DataError, match=r"panoptic_val2017\.json"):
        CocoPanoptic(root)


def test_licences_of_any_form_do_not_matter(root):
    for licences in (None, 3, [None, 3, {"id": []}, {"id": 4}], [{"id": 4, "name": "CC"}]):
        found = content({1: "1"})
        found["licenses"] = licences
        found["images"][0].update(license=4, flickr_url=7)
        write(root, found)
        dataset = CocoPanoptic(root)
        assert dataset.licence(dataset.records[0]) in (None, ("CC", ""))
