"""PASCAL VOC 2012 semantic segmentation, 21 classes."""

from __future__ import annotations

from pathlib import Path

from spectral_graph.data.indexed import IndexedDataset
from spectral_graph.data.labels import VOC_CLASSES, voc_table
from spectral_graph.data.layout import choose_split, first_folder
from spectral_graph.data.listed_files import listed_records


class Voc(IndexedDataset):
    """PASCAL VOC 2012 (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/).

    Layout, in `root`, `root`/VOC2012 or `root`/VOCdevkit/VOC2012: ``JPEGImages/*.jpg``, ``SegmentationClass/*.png``
    (palette images as published, or grey ones with the same values) and ``ImageSets/Segmentation/<split>.txt``. Photos
    and maps are found by their names without the suffix, so other formats than the published ones do too.

    Args:
        root: folder of the data set.
        split: ``val`` if None.

    Raises:
        MissingDataError: a folder or the list of the split is missing.
        DataError: the list is damaged.
        UnsafePathError: the list names a file outside the folders.
    """

    name = "voc"
    classes = VOC_CLASSES

    def __init__(self, root: Path, split: str | None = None) -> None:
        cure = "unpack VOCtrainval_11-May-2012.tar, and name its folder VOCdevkit/VOC2012 with `root`"
        candidates = [root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"]
        lists = first_folder([folder / "ImageSets" / "Segmentation" for folder in candidates], "the image lists", cure)
        root = lists.parent.parent
        self.split = choose_split(split, "val", [path.stem for path in lists.glob("*.txt")], str(lists / "<split>.txt"))
        photos = first_folder([root / "JPEGImages"], "the photos", cure)
        maps = first_folder([root / "SegmentationClass"], "the label maps", cure)
        source = lists / f"{self.split}.txt"
        self.table = voc_table()
        self.annotations = (source,)
        self.records = listed_records(source, photos, maps)
