from __future__ import annotations

import json

import numpy as np

from spectral_graph.data.indexed import CamVid, Cityscapes, CocoStuff, Voc
from spectral_graph.data.labels import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    COARSE_CLASSES,
    COCO_STUFF_CLASSES,
    COCO_STUFF_TO_COARSE,
    IGNORED,
    UNKNOWN,
    VOC_CLASSES,
)
from spectral_graph.data.sample import Sample

# coarse: fine ids, written down independently of the table.
INVERSE = """
0: 71-76 | 1: 77-82 | 2: 51-60 | 3: 61-70 | 4: 83-90 | 5: 43-50 | 6: 25-32 | 7: 15-24 | 8: 9-14 | 9: 0 | 10: 33-42 |
11: 1-8 | 12: 101-102 | 13: 100,113-117 | 14: 120-121,152,169 | 15: 97,106-107,109,111,122,129,132,155,160,164 |
16: 99,131,138,142 | 17: 91-92,103-104,108,130,136,140,151,166-167 | 18: 170-176 | 19: 179-180 |
20: 94-95,127,150,157,165 | 21: 110,124-125,135,139,143-144,146,148,153,158 |
22: 93,96,118,123,128,133,141,162,168 | 23: 105,156 | 24: 126,134,149,159,161,181 | 25: 98,112,137,145,163 |
26: 119,147,154,177-178
"""


def test_coco_stuff_table_is_the_inverse_list():
    want: dict[int, int] = {}
    for part in INVERSE.split("|"):
        coarse, fine = part.split(":")
        for piece in fine.split(","):
            first, _, last = piece.strip().partition("-")
            for value in range(int(first), int(last or first) + 1):
                assert value not in want
                want[value] = int(coarse)
    assert sorted(want) == list(range(182))
    assert dict(enumerate(COCO_STUFF_TO_COARSE)) == want


def test_numbers_of_classes():
    for names, count in [
        (COARSE_CLASSES, 27),
        (COCO_STUFF_CLASSES, 182),
        (CITYSCAPES_CLASSES, 27),
        (VOC_CLASSES, 21),
        (CAMVID_CLASSES, 11),
    ]:
        assert len(names) == len(set(names)) == count
        assert all(names) and all(name == name.strip() for name in names)


def test_coco_stuff_tables():
    coarse, fine = CocoStuff.tables["coarse"], CocoStuff.tables["fine"]
    np.testing.assert_array_equal(fine[:182], np.arange(182))
    np.testing.assert_array_equal(coarse[:182], COCO_STUFF_TO_COARSE)
    for table in (coarse, fine):
        assert table[255] == IGNORED
        assert (table[182:255] == UNKNOWN).all()


def test_names_of_stuff_agree_with_their_coarse_class():
    # COCO-Stuff names many classes after their supercategory: wall-brick is a wall.
    for name, coarse in zip(COCO_STUFF_CLASSES, COCO_STUFF_TO_COARSE, strict=True):
        stem, _, rest = name.partition("-")
        if rest and stem in COARSE_CLASSES[12:]:
            assert COARSE_CLASSES[coarse] == stem


def test_cityscapes_table():
    table = Cityscapes.table
    assert (table[:7] == IGNORED).all() and table[255] == IGNORED and (table[34:255] == UNKNOWN).all()
    ids = {7: "road", 11: "building", 17: "pole", 21: "vegetation", 23: "sky", 24: "person", 26: "car", 33: "bicycle"}
    for value, name in ids.items():
        assert CITYSCAPES_CLASSES[table[value]] == name


def test_voc_camvid_and_coarse_tables():
    assert Voc.table[255] == IGNORED and Voc.table[21] == UNKNOWN
    assert VOC_CLASSES[Voc.table[0]] == "background" and VOC_CLASSES[Voc.table[15]] == "person"
    assert CamVid.table[11] == IGNORED and CamVid.table[12] == UNKNOWN
    assert CAMVID_CLASSES[CamVid.table[8]] == "Car"
    assert Sample.table[255] == IGNORED and Sample.table[27] == UNKNOWN and Sample.table[26] == 26


def test_coco_stuff_agrees_with_the_panoptic_categories(shared_data):
    content = json.loads((shared_data / "coco" / "annotations" / "panoptic_train2017.json").read_bytes())
    things = [category for category in content["categories"] if category["isthing"]]
    assert len(things) == 80
    for category in things:
        # A thing of category id c has the value c - 1 in a COCO-Stuff map.
        value = category["id"] - 1
        assert COCO_STUFF_CLASSES[value] == category["name"]
        assert COARSE_CLASSES[COCO_STUFF_TO_COARSE[value]] == category["supercategory"]
    kinds = {category["supercategory"]: category["isthing"] for category in content["categories"]}
    assert [kinds[name] for name in COARSE_CLASSES] == [1] * 12 + [0] * 15
