"""Any folder of images, with label maps or without."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.data.images import read_image
from spectral_graph.data.label_map import read_index_map, translate
from spectral_graph.data.labels import IGNORED, UNKNOWN
from spectral_graph.data.walk import find_photos, photo_ids, walk
from spectral_graph.errors import DataError, ImageError

_IGNORED_VALUE = 255


class ImageFolder(Dataset):
    """The images of a folder and of the folders in it; hidden files, and results of this program, are left out.

    Layout: any; or ``images/`` and ``labels/``, where ``labels/a/b.png`` is the label map of ``images/a/b.jpg``: its
    values are class numbers, 255 is ignored. ``classes.txt`` names the classes, one a line; without it their names are
    ``0`` to the largest number in the label maps. A photo without a label map is turned upright by its EXIF
    orientation; one with a label map stays as stored.

    The id of an image is its path in the folder without the suffix, or with it where two images differ in it alone;
    bytes that are not UTF-8 are written as ``\\xff``.

    Args:
        root: the folder.

    Raises:
        DataError: classes.txt is damaged, or the folder holds results of this program.
    """

    name = "folder"
    split = ""
    turns = True

    def __init__(self, root: Path) -> None:
        photos, found = find_photos(root)
        labels = walk(root / "labels", (".png",)).files if photos != root else ()
        maps = {path.with_suffix(""): root / "labels" / path for path in labels}
        self.left_out = found.left_out(root)
        self.records = sorted(
            (
                ImageRecord(identity, photos / path, maps.get(path.with_suffix("")))
                for path, identity in zip(found.files, photo_ids(found.files), strict=True)
            ),
            key=lambda record: record.id,
        )
        names = root / "classes.txt"
        self._names = _read_names(names) if names.is_file() else None
        self.annotations = (names,) if names.is_file() else ()

    @cached_property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes. Without classes.txt every label map of `records` is read once, one at a time."""
        if self._names is not None:
            return self._names
        largest = -1
        for record in self.records:
            if record.label is None:
                continue
            try:
                values = read_index_map(record.label)
            except ImageError:
                # Whoever reads this label map meets the same error, and counts it.
                continue
            largest = max(largest, int(values.max(where=values != _IGNORED_VALUE, initial=-1)))
        return tuple(str(value) for value in range(largest + 1))

    def read_image(self, record: ImageRecord) -> Image.Image:
        """Return the photo as an RGB image at its own resolution, upright if it has no label map.

        Raises:
            ImageError: the file is missing or damaged; the message names it.
        """
        return read_image(record.image, upright=self.is_turned(record))

    def is_turned(self, record: ImageRecord) -> bool:
        """Tell whether the photo is turned upright by its EXIF orientation: it is where it has no label map."""
        return record.label is None

    def read_label(self, record: ImageRecord) -> np.ndarray | None:
        """Return the label map (H, W) int16 at its own resolution, -1 where ignored; None where there is none.

        Raises:
            ImageError: the file is damaged, or holds a value that classes.txt does not name.
        """
        if record.label is None:
            return None
        table = np.arange(max(len(self.classes), _IGNORED_VALUE + 1), dtype=np.int16)
        table[len(self.classes) :] = UNKNOWN
        table[_IGNORED_VALUE] = IGNORED
        return translate(read_index_map(record.label), table, record.label, "the classes of this folder")


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the class names cannot be read ({error}); write one name a line, in UTF-8") from error
    while names and not names[-1]:
        names = names[:-1]
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataError(f"{path}: the class names must be there, not empty, and different; write one name a line")
    return names
