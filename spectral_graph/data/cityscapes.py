"""Cityscapes with its fine annotations, 27 classes."""

from __future__ import annotations

from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import CITYSCAPES_CLASSES, cityscapes_table
from spectral_graph.data.layout import choose_split, file_names, first_folder, sub_folders

_PHOTO = "_leftImg8bit.png"
_MAP = "_gtFine_labelIds.png"


class Cityscapes(IndexedDataset):
    """Cityscapes (https://www.cityscapes-dataset.com), all cities of a split.

    Layout: ``leftImg8bit/<split>/<city>/*_leftImg8bit.png`` and ``gtFine/<split>/<city>/*_gtFine_labelIds.png``.
    Class = label id - 7, as PiCIE and STEGO have it; ids below 7 are ignored.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder is missing.
    """

    name = "cityscapes"
    classes = CITYSCAPES_CLASSES

    def __init__(self, root: Path, split: str | None = None) -> None:
        existing = sub_folders(root / "leftImg8bit")
        self.split = choose_split(split, "val", existing, str(root / "leftImg8bit" / "<split>"))
        photos = root / "leftImg8bit" / self.split
        maps = first_folder(
            [root / "gtFine" / self.split],
            "the label maps",
            "unpack gtFine_trainvaltest.zip there, or use `dataset=folder` to work without labels",
        )
        self.table = cityscapes_table()
        self.records = sorted(
            (record for city in sub_folders(photos) for record in _city(photos / city, maps / city)),
            key=lambda record: record.id,
        )


def _city(photos: Path, maps: Path) -> list[ImageRecord]:
    present = file_names(maps) if maps.is_dir() else set()
    keys = [name.removesuffix(_PHOTO) for name in file_names(photos) if name.endswith(_PHOTO)]
    return [
        ImageRecord(key, photos / f"{key}{_PHOTO}", maps / f"{key}{_MAP}" if f"{key}{_MAP}" in present else None)
        for key in keys
    ]
