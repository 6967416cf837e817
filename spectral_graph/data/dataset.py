"""What every data set offers to the rest of the program."""

from __future__ import annotations

import hashlib
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
        notes: what a reader of the results must know about this data set, one sentence each.
        annotations: files besides the photos and label maps that the labels depend on.
        unreadable_labels: (id, reason) of the label maps that `inspect_labels` found to be unusable.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    records: Sequence[ImageRecord]
    notes: tuple[str, ...] = ()
    annotations: tuple[Path, ...] = ()
    unreadable_labels: tuple[tuple[str, str], ...] = ()

    @property
    def photo_files(self) -> list[Path]:
        """The photos, in the order of the records: what the features depend on."""
        return [record.image for record in self.records]

    @property
    def label_files(self) -> list[Path]:
        """The label maps, in the order of the records, and the annotation files: what classes and scores depend on."""
        return [*(record.label for record in self.records if record.label is not None), *self.annotations]

    def stays_as_stored(self, record: ImageRecord) -> bool:
        """Tell whether the photo is not turned upright by its EXIF orientation, as its label map is not."""
        return True

    def inspect_labels(self) -> None:
        """Note, before any long work, which photos and label maps are missing.

        Raises:
            DataError: the label maps cannot be used; see the data sets.
        """
        if self.classes and any(record.label is None or _size(record.image) < 0 for record in self.records):
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

    def fingerprint(self) -> str:
        """Return a SHA-256 over ids and file sizes: it changes when the input of a run changes.

        It looks at sizes, not at contents, so a file replaced by another of the same size goes unnoticed. The choice
        among the class tables of a data set is no part of it: the features and graphs do not depend on it.
        """
        digest = hashlib.sha256()
        for record in self.records:
            digest.update(f"{record.id}\0{_size(record.image)}\0{_size(record.label)}\n".encode())
        for path in self.annotations:
            digest.update(f"{path.name}\0{_size(path)}\n".encode())
        return digest.hexdigest()


def counted(dataset: Dataset) -> str:
    """Return how many photos a data set has, and how many of them have a label map or are missing."""
    labelled = sum(record.label is not None for record in dataset.records)
    photos = len(dataset.records)
    text = f"{dataset.name}: {photos} photos, {labelled} with label maps, {photos - labelled} without"
    missing = [record.image for record in dataset.records if _size(record.image) < 0]
    return f"{text}; {len(missing)} photos are missing (the first: {missing[0]})" if missing else text


def _size(path: Path | None) -> int:
    try:
        return -1 if path is None else path.stat().st_size
    except OSError:
        return -1
