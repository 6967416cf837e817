from __future__ import annotations

import numpy as np
import pytest

from spectral_graph.data import open_dataset
from spectral_graph.data.indexed import CocoStuff
from spectral_graph.data.labels import COARSE_CLASSES
from spectral_graph.errors import DataError, ImageError, MissingDataError

LIST = "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt"


@pytest.fixture
def root(tmp_path, write_photo, write_map):
    for key in ("000000000003", "000000000001", "000000000002"):
        write_photo(tmp_path / "val2017" / f"{key}.jpg", 2, 3)
    for key in ("000000000001", "000000000003", "000000000009"):
        write_map(tmp_path / "stuffthingmaps" / "val2017" / f"{key}.png", [[0, 2, 181], [255, 156, 90]])
    return tmp_path


def test_all_labelled_images_and_a_note(root):
    dataset = open_dataset("cocostuff", root)
    assert [r.id for r in dataset.records] == ["000000000001", "000000000003"]
    assert len(dataset.notes) == 1
    assert LIST in dataset.notes[0] and "not comparable" in dataset.notes[0]
    names = [COARSE_CLASSES[i] if i >= 0 else None for i in dataset.read_label(dataset.records[0]).ravel()]
    assert names == ["person", "vehicle", "solid", None, "sky", "indoor"]
    fine = open_dataset("cocostuff", root, labels="fine")
    np.testing.assert_array_equal(fine.read_label(fine.records[0]), [[0, 2, 181], [-1, 156, 90]])
    assert [fine.classes[i] for i in (0, 2, 181, 156, 90)] == ["person", "car", "wood", "sky-other", "hair brush"]


def test_the_curated_list_is_used_where_it_is(root):
    (root / LIST).parent.mkdir(parents=True)
    (root / LIST).write_text("000000000003\n000000000002\n\n000000000009\n")
    dataset = CocoStuff(root)
    assert dataset.notes == ()
    assert [r.id for r in dataset.records] == ["000000000002", "000000000003", "000000000009"]
    # No map for the first, no photo for the last: both stay listed.
    assert dataset.records[0].label is None and dataset.read_label(dataset.records[0]) is None
    with pytest.raises(ImageError, match="there is no such file"):
        dataset.read_image(dataset.records[2])


def test_a_damaged_list_is_named(root):
    (root / LIST).parent.mkdir(parents=True)
    (root / LIST).write_text("000000000003\n000000000002\n000000000003\n")
    with pytest.raises(DataError, match=r"Coarse_7\.txt.*000000000003.*2"):
        CocoStuff(root)
    (root / LIST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"Coarse_7\.txt"):
        CocoStuff(root)


def test_the_layout_of_stego(root):
    (root / "images").mkdir()
    (root / "val2017").rename(root / "images" / "val2017")
    (root / "stuffthingmaps").rename(root / "annotations")
    assert len(CocoStuff(root).records) == 2


def test_a_value_outside_is_named(root, write_map):
    write_map(root / "stuffthingmaps" / "val2017" / "000000000001.png", [[182, 200]])
    dataset = CocoStuff(root)
    with pytest.raises(ImageError, match=r"000000000001\.png.*182.*200"):
        dataset.read_label(dataset.records[0])


def test_missing_parts(root, tmp_path):
    with pytest.raises(MissingDataError, match=r"'train2017'.*val2017"):
        CocoStuff(root, "train2017")
    (root / "val2017").rename(root / "photos")
    with pytest.raises(MissingDataError, match="no folder with the photos"):
        CocoStuff(root)


def test_the_real_images(shared_data):
    dataset = CocoStuff(shared_data / "cocostuff", "train2017")
    fine = CocoStuff(shared_data / "cocostuff", "train2017", "fine")
    assert len(dataset.records) == 13
    for record in dataset.records:
        label = dataset.read_label(record)
        assert label.shape == dataset.read_image(record).size[::-1]
        assert ((label < 0) == (fine.read_label(record) < 0)).all()
        assert label.min() >= -1 and label.max() < 27
    with pytest.raises(MissingDataError, match="splits there: train2017"):
        CocoStuff(shared_data / "cocostuff")
