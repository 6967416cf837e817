"""COCO with its panoptic annotations, as 27 supercategories or 133 categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.images import decoding
from spectral_graph.data.labels import COARSE_CLASSES, IGNORED, LabelSet
from spectral_graph.data.layout import choose_split, file_names, first_folder
from spectral_graph.errors import DataError, ImageError


class CocoPanoptic(Dataset):
    """COCO photos with panoptic label maps (https://cocodataset.org/#format-data, section 4).

    Layout: ``<split>/*.jpg`` (or ``images/<split>/*.jpg``), ``annotations/panoptic_<split>.json`` and
    ``annotations/panoptic_<split>/*.png``, whose pixels hold the segment id R + 256 G + 65536 B, 0 = unlabelled.

    Args:
        root: folder of the data set.
        split: ``val2017`` if None.
        labels: ``coarse``: the 27 supercategories, in the order of COARSE_CLASSES; ``fine``: the 133 categories, in
            the order of their ids.

    Raises:
        MissingDataError: a folder or the annotation file is missing.
        DataError: the annotation file is damaged.
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
        photos = first_folder(
            [root / self.split, root / "images" / self.split],
            "the photos",
            f"unpack the official {self.split}.zip there",
        )
        try:
            content = json.loads(source.read_bytes())
            self.classes, class_of = _categories(content["categories"], labels)
            names = {image["id"]: image["file_name"] for image in content["images"]}
            self._licences = _licences(content)
            self.records = _records(names, content["annotations"], photos, masks)
            self._segments = {
                PurePosixPath(names[entry["image_id"]]).stem: _segments(entry["segments_info"], class_of)
                for entry in content["annotations"]
                if entry["image_id"] in names
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"no entry {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{source} is damaged or no panoptic annotation file ({what}); fetch it again from cocodataset.org"
            ) from error

    def licence(self, record: ImageRecord) -> tuple[str, str] | None:
        """Return the name of the photo's licence and its address at Flickr, as far as the annotation file has them."""
        return self._licences.get(record.id)

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution, -1 where ignored; None where there is none.

        Raises:
            ImageError: the PNG is damaged, or holds a segment that the annotation file does not list.
        """
        if record.label is None:
            return None
        with decoding(record.label), Image.open(record.label) as image:
            if image.mode != "RGB":
                raise ImageError(
                    f"{record.label}: a panoptic label map is an RGB image, this one is of mode {image.mode}; "
                    "fetch the panoptic PNGs again"
                )
            red, green, blue = np.moveaxis(np.asarray(image).astype(np.int32), 2, 0)
        values = red + 256 * green + 65536 * blue
        ids, classes = self._segments[record.id]
        place = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
        known = ids[place] == values
        if not known.all():
            raise ImageError(
                f"{record.label}: segment {values[~known][0]} is not listed in {self.annotations[0].name} "
                f"({1 - known.mean():.1%} of the pixels); fetch the PNGs and the JSON of the same release"
            )
        return classes[place]


def _licences(content: dict[str, Any]) -> dict[str, tuple[str, str]]:
    names = {entry["id"]: entry["name"] for entry in content.get("licenses", [])}
    return {
        PurePosixPath(image["file_name"]).stem: (names[image["license"]], image.get("flickr_url", ""))
        for image in content["images"]
        if image.get("license") in names
    }


def _categories(entries: Sequence[dict[str, Any]], labels: LabelSet) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the class names, and category id -> class id."""
    entries = sorted(entries, key=lambda entry: entry["id"])
    if labels == "fine":
        return tuple(entry["name"] for entry in entries), {entry["id"]: i for i, entry in enumerate(entries)}
    index = {name: i for i, name in enumerate(COARSE_CLASSES)}
    unknown = {entry["supercategory"] for entry in entries} - index.keys()
    if unknown:
        raise ValueError(f"unknown supercategory {', '.join(sorted(unknown))}; try --labels fine")
    return COARSE_CLASSES, {entry["id"]: index[entry["supercategory"]] for entry in entries}


def _records(
    names: dict[int, str], annotations: Sequence[dict[str, Any]], photos: Path, masks: Path
) -> list[ImageRecord]:
    present = file_names(masks)
    mask_of = {entry["image_id"]: entry["file_name"] for entry in annotations}
    records = [
        ImageRecord(
            PurePosixPath(name).stem, photos / name, masks / mask_of[key] if mask_of.get(key) in present else None
        )
        for key, name in names.items()
    ]
    if len({record.id for record in records}) < len(records):
        raise ValueError("two images have the same file name")
    return sorted(records, key=lambda record: record.id)


def _segments(entries: Sequence[dict[str, Any]], class_of: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted segment ids (S + 1,) int32 and their classes (S + 1,) int16, with id 0 as ignored."""
    pairs = sorted([(0, IGNORED), *((entry["id"], class_of[entry["category_id"]]) for entry in entries)])
    ids, classes = zip(*pairs, strict=True)
    return np.array(ids, np.int32), np.array(classes, np.int16)
