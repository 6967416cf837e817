"""COCO with its panoptic annotations, as 27 supercategories or 133 categories."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from spectral_graph.data.coco_json import LabelMap, Panoptic, read_panoptic
from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.label_map import look_up, open_label
from spectral_graph.data.labels import LabelSet
from spectral_graph.data.layout import (
    MAP_SUFFIXES,
    PHOTO_SUFFIXES,
    ListedFiles,
    choose_split,
    coco_photos,
    first_folder,
    without_suffix,
)
from spectral_graph.errors import DataError, ImageError
from spectral_graph.io.inside import inside


class CocoPanoptic(Dataset):
    """COCO photos with panoptic label maps (https://cocodataset.org/#format-data, section 4).

    Layout: ``<split>/*.jpg`` (or ``images/<split>/*.jpg``), ``annotations/panoptic_<split>.json`` and
    ``annotations/panoptic_<split>/*.png``, whose pixels hold the segment id R + 256 G + 65536 B, 0 = unlabelled.
    File names may have folders in them. The id of an image is its file name without the suffix, or with it where two
    images differ in it alone.

    Args:
        root: folder of the data set.
        split: ``val2017`` if None.
        labels: ``coarse``: the 27 supercategories, in the order of COARSE_CLASSES; ``fine``: the 133 categories, in
            the order of their ids.

    Raises:
        MissingDataError: a folder or the annotation file is missing.
        DataError: the annotation file is damaged.
        UnsafePathError: the annotation file names a file outside the folders.
    """

    name = "coco"

    def __init__(self, root: Path, split: str | None = None, labels: LabelSet = "coarse") -> None:
        folder = root / "annotations"
        existing = [path.stem.removeprefix("panoptic_") for path in folder.glob("panoptic_*.json")]
        self.split = choose_split(split, "val2017", existing, str(folder / "panoptic_<split>.json"))
        source = folder / f"panoptic_{self.split}.json"
        self.annotations = (source,)
        masks = first_folder(
            [folder / f"panoptic_{self.split}"],
            "the panoptic label maps",
            f"unpack panoptic_{self.split}.zip of the official panoptic_annotations_trainval2017.zip there",
        )
        photos = coco_photos(root, self.split)
        content = read_panoptic(source, labels)
        self.classes = content.classes
        self.notes = _strays(content, source)
        self._maps: dict[str, LabelMap] = {}
        self._licences: dict[str, tuple[str, str]] = {}
        times = Counter(without_suffix(name, PHOTO_SUFFIXES) for name in content.label_maps)
        files = ListedFiles(masks, MAP_SUFFIXES)
        records = []
        for name, label_map in content.label_maps.items():
            photo = inside(photos, name, source, follow_links=True)
            stem = without_suffix(name, PHOTO_SUFFIXES)
            key = stem if times[stem] == 1 else name
            path = None
            if label_map is not None:
                self._maps[key] = label_map
                path = inside(masks, label_map.file_name, source, follow_links=True)
            records.append(ImageRecord(key, photo, path if path is not None and files.exists(path) else None))
            if name in content.licences:
                self._licences[key] = content.licences[name]
        self.records = sorted(records, key=lambda record: record.id)

    def licence(self, record: ImageRecord) -> tuple[str, str] | None:
        """Return the photo's licence and its address at Flickr; None if the annotation file lacks them."""
        return self._licences.get(record.id)

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution, -1 where ignored; None where there is none.

        Raises:
            ImageError: the PNG is damaged, or holds a segment that the annotation file does not list.
        """
        if record.label is None:
            return None
        with open_label(record.label) as image:
            if image.mode != "RGB":
                raise ImageError(
                    f"{record.label}: a panoptic label map is an RGB image, this one is of mode {image.mode}; "
                    "fetch the panoptic PNGs again"
                )
            red, green, blue = np.moveaxis(np.asarray(image).astype(np.int32), 2, 0)
        values = red + 256 * green + 65536 * blue
        label_map = self._maps[record.id]
        classes, known = look_up(values, label_map.segments, label_map.classes)
        if not known.all():
            raise ImageError(
                f"{record.label}: segment {values[~known][0]} is not listed in {self.annotations[0].name} "
                f"({1 - known.mean():.1%} of the pixels); fetch the PNGs and the JSON of the same release"
            )
        return classes


def _strays(content: Panoptic, source: Path) -> tuple[str, ...]:
    if not content.strays:
        return ()
    count = len(content.strays)
    if all(label_map is None for label_map in content.label_maps.values()):
        raise DataError(
            f"{source}: none of its {count} annotations belongs to an image that it lists (the first: "
            f"{content.strays[0]}); the ids of images and annotations must be equal and of one type"
        )
    return (
        f"{count} annotations of {source.name} belong to images that it does not list (the first: {content.strays[0]})",
    )
