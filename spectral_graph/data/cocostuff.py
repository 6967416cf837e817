"""COCO-Stuff pixel maps, as 27 coarse or 182 fine classes."""

from __future__ import annotations

from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import COARSE_CLASSES, COCO_STUFF_CLASSES, LabelSet, coco_stuff_table
from spectral_graph.data.layout import choose_split, first_folder, sub_folders
from spectral_graph.data.listed_files import MAP_SUFFIXES, PHOTO_SUFFIXES, ListedFiles, listed_records

_CURATED = "Coco164kFull_Stuff_Coarse_7.txt"


class CocoStuff(IndexedDataset):
    """COCO photos with the maps of stuffthingmaps_trainval2017 (https://github.com/nightrome/cocostuff).

    Layout: photos in ``<split>/*.jpg`` or ``images/<split>/*.jpg``, maps in ``stuffthingmaps/<split>/*.png`` or
    ``annotations/<split>/*.png``: 0..181, 255 unlabelled. Where ``curated/<split>/Coco164kFull_Stuff_Coarse_7.txt``
    exists (the list that PiCIE and STEGO are scored on), its images are used, otherwise all that have a map.

    Args:
        root: folder of the data set.
        split: ``val2017`` if None.
        labels: ``coarse``: 27 classes; ``fine``: 182.

    Raises:
        MissingDataError: a folder is missing.
        DataError: the curated list is damaged.
        UnsafePathError: the curated list names a file outside the folders.
    """

    name = "cocostuff"

    def __init__(self, root: Path, split: str | None = None, labels: LabelSet = "coarse") -> None:
        parents = [root / "stuffthingmaps", root / "annotations"]
        existing = {name for parent in parents for name in sub_folders(parent)}
        looked_for = " and ".join(str(parent / "<split>") for parent in parents)
        self.split = choose_split(split, "val2017", existing, looked_for)
        photos = first_folder(
            [root / self.split, root / "images" / self.split],
            "the photos",
            f"unpack the official {self.split}.zip there",
        )
        maps = next(parent / self.split for parent in parents if (parent / self.split).is_dir())
        self.classes = COARSE_CLASSES if labels == "coarse" else COCO_STUFF_CLASSES
        self.table = coco_stuff_table(labels)

        curated = root / "curated" / self.split / _CURATED
        if curated.exists():
            self.records = listed_records(curated, photos, maps)
            self.annotations = (curated,)
            return
        there = ListedFiles(photos, PHOTO_SUFFIXES).stems()
        labelled = ListedFiles(maps, MAP_SUFFIXES).stems()
        self.records = [ImageRecord(key, there[key], label) for key, label in labelled.items() if key in there]
        self.notes = (
            f"curated/{self.split}/{_CURATED} is missing: all {len(self.records)} labelled images are used, "
            "and the scores are not comparable with those of PiCIE and STEGO",
        )
