from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.coco import CocoPanoptic
from spectral_graph.data.labels import COARSE_CLASSES
from spectral_graph.errors import DataError, ImageError, MissingDataError

CATEGORIES = [
    {"id": 200, "name": "rug-merged", "supercategory": "textile", "isthing": 0},
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 3, "name": "car", "supercategory": "vehicle", "isthing": 1},
    {"id": 187, "name": "sky-other-merged", "supercategory": "sky", "isthing": 0},
]
# Segment ids of one, two and three bytes.
SEGMENTS = [{"id": 7, "category_id": 1}, {"id": 300, "category_id": 187}, {"id": 65536 * 250 + 9, "category_id": 3}]
MAP = np.array([[7, 7, 300, 0], [65536 * 250 + 9, 300, 0, 7]])


def panoptic(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack([values % 256, values // 256 % 256, values // 65536], 2).astype(np.uint8))


def make(root: Path, write_photo, split: str = "val2017") -> dict:
    content = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "height": 2, "width": 4} for n in (42, 5, 17)],
        "annotations": [
            {"image_id": 42, "file_name": "000000000042.png", "segments_info": list(SEGMENTS)},
            {"image_id": 17, "file_name": "000000000017.png", "segments_info": []},
        ],
        "categories": copy.deepcopy(CATEGORIES),
    }
    for n in (42, 5, 17):
        write_photo(root / split / f"{n:012d}.jpg", 2, 4, seed=n)
    folder = root / "annotations" / f"panoptic_{split}"
    folder.mkdir(parents=True)
    panoptic(MAP).save(folder / "000000000042.png")
    panoptic(0 * MAP).save(folder / "000000000017.png")
    (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return content


def rewrite(root: Path, content: object) -> None:
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps(content))


def test_coarse(tmp_path, write_photo):
    make(tmp_path, write_photo)
    dataset = open_dataset("coco", tmp_path)
    assert (dataset.name, dataset.split, dataset.classes) == ("coco", "val2017", COARSE_CLASSES)
    assert [r.id for r in dataset.records] == ["000000000005", "000000000017", "000000000042"]
    person, sky, vehicle = (COARSE_CLASSES.index(n) for n in ("person", "sky", "vehicle"))
    label = dataset.read_label(dataset.records[2])
    assert label.dtype == np.int16
    np.testing.assert_array_equal(label, [[person, person, sky, -1], [vehicle, sky, -1, person]])
    # An image without an annotation, and one whose map is all void.
    assert dataset.records[0].label is None and dataset.read_label(dataset.records[0]) is None
    assert (dataset.read_label(dataset.records[1]) == -1).all()
    assert dataset.read_image(dataset.records[2]).size == (4, 2)


def test_fine_classes_are_in_the_order_of_their_ids(tmp_path, write_photo):
    make(tmp_path, write_photo)
    dataset = open_dataset("coco", tmp_path, labels="fine")
    assert dataset.classes == ("person", "car", "sky-other-merged", "rug-merged")
    np.testing.assert_array_equal(dataset.read_label(dataset.records[2]), [[0, 0, 2, -1], [1, 2, -1, 0]])


def test_photos_below_images(tmp_path, write_photo):
    make(tmp_path, write_photo)
    (tmp_path / "images").mkdir()
    (tmp_path / "val2017").rename(tmp_path / "images" / "val2017")
    dataset = CocoPanoptic(tmp_path)
    assert dataset.read_image(dataset.records[0]).mode == "RGB"


def test_a_missing_photo_stays_listed_and_a_missing_map_is_none(tmp_path, write_photo):
    make(tmp_path, write_photo)
    (tmp_path / "val2017" / "000000000042.jpg").unlink()
    (tmp_path / "annotations" / "panoptic_val2017" / "000000000042.png").unlink()
    dataset = CocoPanoptic(tmp_path)
    assert len(dataset.records) == 3
    assert dataset.records[2].label is None
    with pytest.raises(ImageError, match=r"000000000042\.jpg"):
        dataset.read_image(dataset.records[2])


def test_an_unlisted_segment_is_named(tmp_path, write_photo):
    make(tmp_path, write_photo)
    panoptic(np.array([[7, 7, 8, 7]])).save(tmp_path / "annotations" / "panoptic_val2017" / "000000000042.png")
    dataset = CocoPanoptic(tmp_path)
    with pytest.raises(ImageError, match=r"42\.png.*8.*panoptic_val2017\.json.*\(25\.0%"):
        dataset.read_label(dataset.records[2])


def test_a_grey_map_is_refused(tmp_path, write_photo):
    make(tmp_path, write_photo)
    Image.new("L", (4, 2)).save(tmp_path / "annotations" / "panoptic_val2017" / "000000000042.png")
    dataset = CocoPanoptic(tmp_path)
    with pytest.raises(ImageError, match=r"42\.png"):
        dataset.read_label(dataset.records[2])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{}", '{"categories": 3}', "\xff"])
def test_a_damaged_annotation_file_is_named(tmp_path, write_photo, text):
    make(tmp_path, write_photo)
    (tmp_path / "annotations" / "panoptic_val2017.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"panoptic_val2017\.json"):
        CocoPanoptic(tmp_path)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_missing_part_of_the_annotation_file_is_named(tmp_path, write_photo, key):
    content = make(tmp_path, write_photo)
    del content[key]
    rewrite(tmp_path, content)
    with pytest.raises(DataError, match=f"no entry '{key}'"):
        CocoPanoptic(tmp_path)


def test_an_instance_annotation_file_is_refused(tmp_path, write_photo):
    content = make(tmp_path, write_photo)
    content["annotations"] = [{"image_id": 42, "segmentation": [], "category_id": 1}]
    rewrite(tmp_path, content)
    with pytest.raises(DataError, match="no entry 'file_name'"):
        CocoPanoptic(tmp_path)


def test_unknown_categories_and_supercategories(tmp_path, write_photo):
    content = make(tmp_path, write_photo)
    content["categories"][0]["supercategory"] = "spaceship"
    rewrite(tmp_path, content)
    with pytest.raises(DataError, match="`labels=fine`"):
        CocoPanoptic(tmp_path)
    assert len(CocoPanoptic(tmp_path, labels="fine").classes) == 4
    content["annotations"][0]["segments_info"][0] = {"id": 7, "category_id": 99}
    rewrite(tmp_path, content)
    with pytest.raises(DataError, match="no entry 99"):
        CocoPanoptic(tmp_path, labels="fine")


def test_two_images_of_one_name(tmp_path, write_photo):
    content = make(tmp_path, write_photo)
    content["images"][0]["file_name"] = content["images"][1]["file_name"]
    rewrite(tmp_path, content)
    with pytest.raises(DataError, match="two images have the same file name"):
        CocoPanoptic(tmp_path)


def test_missing_parts_are_named_with_what_is_there(tmp_path, write_photo):
    with pytest.raises(MissingDataError, match=r"'val2017'.*`root`"):
        CocoPanoptic(tmp_path)
    make(tmp_path, write_photo, "train2017")
    with pytest.raises(MissingDataError, match=r"'val2017'.*train2017.*`sp"):
        CocoPanoptic(tmp_path)
    with pytest.raises(MissingDataError, match=r"'test'.*panoptic_<split>\.json.*train2017"):
        CocoPanoptic(tmp_path, "test")
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    with pytest.raises(MissingDataError, match=r"train2017.*train2017\.zip"):
        CocoPanoptic(tmp_path, "train2017")
    (tmp_path / "annotations" / "panoptic_train2017").rename(tmp_path / "annotations" / "x")
    with pytest.raises(MissingDataError, match=r"panoptic_train2017\.zip"):
        CocoPanoptic(tmp_path, "train2017")


def test_all_133_real_categories_map_to_the_27(shared_data):
    content = json.loads((shared_data / "coco" / "annotations" / "panoptic_train2017.json").read_bytes())
    assert len(content["categories"]) == 133
    assert {category["supercategory"] for category in content["categories"]} == set(COARSE_CLASSES)
    fine = CocoPanoptic(shared_data / "coco", "train2017", "fine")
    assert fine.classes[0] == "person" and fine.classes[-1] == "rug-merged" and len(set(fine.classes)) == 133


def test_real_labels_have_the_areas_of_the_annotation_file(shared_data):
    source = shared_data / "coco" / "annotations" / "panoptic_train2017.json"
    content = json.loads(source.read_bytes())
    category = {entry["id"]: entry for entry in content["categories"]}
    coarse = CocoPanoptic(shared_data / "coco", "train2017")
    fine = CocoPanoptic(shared_data / "coco", "train2017", "fine")
    assert len(coarse.records) == 100
    record_of = {record.id: record for record in coarse.records}
    for annotation in content["annotations"]:
        record = record_of[Path(annotation["file_name"]).stem]
        coarse_label, fine_label = coarse.read_label(record), fine.read_label(record)
        with Image.open(record.image) as image:
            assert image.size == coarse_label.shape[::-1]
        by_supercategory: dict[str, int] = {}
        by_category: dict[str, int] = {}
        for segment in annotation["segments_info"]:
            entry = category[segment["category_id"]]
            kind = entry["supercategory"]
            by_supercategory[kind] = by_supercategory.get(kind, 0) + segment["area"]
            by_category[entry["name"]] = by_category.get(entry["name"], 0) + segment["area"]
        for label, names, areas in (
            (coarse_label, COARSE_CLASSES, by_supercategory),
            (fine_label, fine.classes, by_category),
        ):
            ids, counts = np.unique(label[label >= 0], return_counts=True)
            assert {names[i]: int(n) for i, n in zip(ids, counts, strict=True)} == areas
