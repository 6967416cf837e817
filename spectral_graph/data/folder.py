"""Any folder of images, with label maps or without."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_graph.data.dataset import Dataset, ImageRecord, counted
from spectral_graph.data.folder_labels import pair, refuse_label_maps_among
from spectral_graph.data.images import read_image
from spectral_graph.data.label_map import read_index_map
from spectral_graph.data.label_values import UNLABELLED, FoundValues, ValueClasses, decide_classes, find_values
from spectral_graph.data.text_file import read_class_names
from spectral_graph.data.walk import find_photos, photo_ids, walk
from spectral_graph.errors import DataError


class ImageFolder(Dataset):
    """The images of a folder and of the folders in it; hidden files, and results of this program, are left out.

    Layout: any; or ``images/`` and ``labels/``, where ``labels/a/b.png`` (or .tif, .bmp, or ``labels/a/b.jpg.png``) is
    the label map of ``images/a/b.jpg``: its values are class numbers. Each value that occurs is a class, named by its
    number; or ``classes.txt`` names them, one a line, from value 0 on. A photo without a label map is turned upright
    by its EXIF orientation; one with a label map stays as stored.

    The id of an image is its path in the folder without the suffix, or with it where two images differ in it alone;
    bytes that are not UTF-8 are written as ``\\xff``.

    Args:
        root: the folder.
        ignore: label values that count as unlabelled, see `decide_classes`.

    Raises:
        DataError: classes.txt is damaged, or the folder holds results of this program.
    """

    name = "folder"
    split = ""
    turns = True

    def __init__(self, root: Path, ignore: tuple[int, ...] | None = None) -> None:
        photos, found = find_photos(root)
        files, labels = sorted(found.files), root / "labels"
        self.left_out = found.left_out(root)
        self._folder, self._ignore, self._photos = photos, ignore, files
        self._pairing = pair(files, walk(labels, ("",)).files, labels) if photos != root else None
        maps = {} if self._pairing is None else self._pairing.label_of
        self.records = sorted(
            (
                ImageRecord(identity, photos / path, labels / maps[path] if path in maps else None)
                for path, identity in zip(files, photo_ids(files), strict=True)
            ),
            key=lambda record: record.id,
        )
        names = root / "classes.txt"
        self._names = read_class_names(names) if names.exists() else None
        self.annotations = (names,) if names.exists() else ()

    @cached_property
    def _values(self) -> ValueClasses:
        return decide_classes(self._found, self._names, self._ignore)

    @cached_property
    def _found(self) -> FoundValues:
        known = None
        if self._names is not None:
            known = {*range(len(self._names)), *(UNLABELLED if self._ignore is None else self._ignore)}
        return find_values(self.records, known)

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes; () where no record has a label map. Every label map of `records` is read once."""
        return self._values.names if any(record.label for record in self.records) else self._names or ()

    def inspect_labels(self) -> None:
        """Read all label maps once, and add notes on their values, unused files and unusable maps.

        Raises:
            DataError: no file in labels/ belongs to a photo, none of the label maps can be used, all of their pixels
                count as unlabelled, or label maps would be taken for photos.
        """
        refuse_label_maps_among(self._photos, self._folder)
        if self._pairing is None:
            return
        self._pairing.check(self._photos)
        self.notes = (counted(self), *self._pairing.notes())
        labelled = [record for record in self.records if record.label is not None]
        if not labelled:
            return
        self.unreadable_labels = self._found.unusable
        if len(self.unreadable_labels) == len(labelled):
            raise DataError(
                f"{self._pairing.folder}: none of the {len(labelled)} label maps can be used (the first: "
                f"{self.unreadable_labels[0][1]}); correct them, or name {self._folder} with `root` to work "
                "without labels"
            )
        if not self.classes or set(self._found.values) <= self._values.void:
            raise DataError(
                f"{self._pairing.folder}: every pixel of the label maps counts as unlabelled (values found: "
                f"{', '.join(map(str, sorted(self._found.values)))}); name the values to ignore with `ignore`"
            )
        self.notes += self._values.notes
        if self.unreadable_labels:
            self.notes += (
                f"{len(self.unreadable_labels)} of {len(labelled)} label maps count as missing (the first: "
                f"{self.unreadable_labels[0][1]})",
            )

    def read_image(self, record: ImageRecord) -> Image.Image:
        """Return the photo as an RGB image, upright if it has no label map; see `Dataset.read_image`."""
        return read_image(record.image, upright=self.is_turned(record))

    def is_turned(self, record: ImageRecord) -> bool:
        """Return whether the photo is turned upright by its EXIF orientation: if it has no label map."""
        return record.label is None

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map; see `Dataset.read_label`. ImageError if it holds a value that is no class."""
        if record.label is None:
            return None
        return self._values.translate(read_index_map(record.label), record.label)
