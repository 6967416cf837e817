"""Class names, and the tables from stored label values to class ids.

Sources: COCO-Stuff's list of 182 names (https://github.com/nightrome/cocostuff); the 27 coarse classes of PiCIE and
STEGO in their order; Cityscapes' label ids (https://github.com/mcordts/cityscapesScripts); PASCAL VOC 2012's and
CamVid's own lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

LabelSet = Literal["coarse", "fine"]

IGNORED = -1
UNKNOWN = -2


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


# The supercategories of COCO, 12 of things and then 15 of stuff, spelled as in the panoptic annotations.
COARSE_CLASSES = _names(
    "electronic, appliance, food, furniture, indoor, kitchen, accessory, animal, outdoor, person, sports, vehicle, "
    "ceiling, floor, food-stuff, furniture-stuff, raw-material, textile, wall, window, building, ground, plant, sky, "
    "solid, structural, water"
)

COCO_STUFF_CLASSES = _names(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, "
    "giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, "
    "sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, plate, "
    "wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, "
    "donut, cake, chair, couch, potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush, hair brush, "
    "banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, "
    "ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, "
    "floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, "
    "furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, "
    "mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, "
    "railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, "
    "stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, "
    "wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, "
    "window-blind, window-other, wood"
)

# Index = stored value (COCO-Stuff id - 1), value = index into COARSE_CLASSES; 26 values a row.
COCO_STUFF_TO_COARSE = tuple(
    int(coarse)
    for coarse in _names(
        "9, 11, 11, 11, 11, 11, 11, 11, 11, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, "
        "6, 6, 6, 6, 6, 6, 6, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 5, 5, 5, 5, 5, 5, 5, 2, "
        "2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 1, "
        "1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 17, 17, 22, 20, 20, 22, 15, 25, 16, 13, 12, 12, 17, "
        "17, 23, 15, 15, 17, 15, 21, 15, 25, 13, 13, 13, 13, 13, 22, 26, 14, 14, 15, 22, 21, 21, 24, 20, 22, 15, "
        "17, 16, 15, 22, 24, 21, 17, 25, 16, 21, 17, 22, 16, 21, 21, 25, 21, 26, 21, 24, 20, 17, 14, 21, 26, 15, "
        "23, 20, 21, 24, 15, 24, 22, 25, 15, 20, 17, 17, 22, 14, 18, 18, 18, 18, 18, 18, 18, 26, 26, 19, 19, 24"
    )
)

# Label ids 7 to 33, in this order.
CITYSCAPES_CLASSES = _names(
    "road, sidewalk, parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, "
    "traffic light, traffic sign, vegetation, terrain, sky, person, rider, car, truck, bus, caravan, trailer, "
    "train, motorcycle, bicycle"
)

VOC_CLASSES = _names(
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse, "
    "motorbike, person, pottedplant, sheep, sofa, train, tvmonitor"
)

CAMVID_CLASSES = _names("Sky, Building, Pole, Road, Pavement, Tree, SignSymbol, Fence, Car, Pedestrian, Bicyclist")


def value_table(classes: Sequence[int], ignored: Sequence[int], first: int = 0) -> np.ndarray:
    """Return a table over the values of an 8-bit label map.

    Args:
        classes: the class ids of the stored values `first`, `first` + 1, ...
        ignored: stored values that count as unlabelled.
        first: stored value of the first class.

    Returns:
        (256,) int16: class id, IGNORED, or UNKNOWN for values that are in neither.
    """
    table = np.full(256, UNKNOWN, np.int16)
    table[list(ignored)] = IGNORED
    table[first : first + len(classes)] = classes
    return table
