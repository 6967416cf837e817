"""Interface of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_graph.data.images import read_image


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        id: unique within the data set, stable between runs (used in reports and file names).
        image: path of the photo; the data set lists it, the file itself may be missing.
        label: path of its label map, or None where there is none.
    """

    id: str
    image: Path
    label: Path | None


class Dataset(ABC):
    """A list of images with the names of their classes, and a way to read the label maps.

    Attributes:
        name: the name of the data set on the command line, e.g. ``coco``.
        split: e.g. ``train2017``; empty where the data set has none.
        classes: class names; index = class id in the label maps. Empty for unlabelled folders.
        records: the images in a fixed order (sorted by id).
        root: its folder; None for data that come with the package, and where it is not known.
        notes: sentences about this data set for the reader of the results.
        left_out: sentences about files in its folder that are not used, shown at the start.
        annotations: files besides the photos and label maps that the labels depend on.
        unreadable_labels: (id, reason) of the label maps that `inspect_labels` found to be unusable.
        turns: whether `is_turned` may be true for a photo.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    records: Sequence[ImageRecord]
    root: Path | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    annotations: tuple[Path, ...] = ()
    unreadable_labels: tuple[tuple[str, str], ...] = ()
    turns: bool = False

    def inspect_labels(self) -> None:
        """Add a note on missing photos and label maps, before any long work.

        Raises:
            DataError: the label maps cannot be used.
        """
        if self.classes and any(record.label is None or _is_missing(record.image) for record in self.records):
            self.notes = (*self.notes, counted(self))

    def read_image(self, record: ImageRecord) -> Image.Image:
        """Return the photo as an RGB image at its own resolution, in the orientation of its label map.

        Raises:
            ImageError: the file is missing or damaged; the message names it.
        """
        return read_image(record.image)

    @abstractmethod
    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution: class id, or -1 where ignored.

        None where the image has no label. Raises ImageError where the file is damaged.
        """

    def licence(self, record: ImageRecord) -> tuple[str, str] | None:
        """Return the photo's licence and its source's address, where the data set names them for each photo."""
        return None

    def is_turned(self, record: ImageRecord) -> bool:
        """Return whether `read_image` turns this photo upright by its EXIF orientation."""
        return False


def counted(dataset: Dataset) -> str:
    """Return how many photos a data set has, and how many of them have a label map or are missing."""
    labelled = sum(record.label is not None for record in dataset.records)
    photos = len(dataset.records)
    text = f"{dataset.name}: {photos} photos, {labelled} with label maps, {photos - labelled} without"
    missing = [record.image for record in dataset.records if _is_missing(record.image)]
    return f"{text}; {len(missing)} photos are missing (the first: {missing[0]})" if missing else text


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return True
    return False
