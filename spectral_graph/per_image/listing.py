"""The photos that a command names: files, and folders with all images in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.folder import SUFFIXES, ImageFolder
from spectral_graph.errors import DataError, MissingDataError
from spectral_graph.report.names import FileNames


def list_photos(places: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return (name, path) of each photo, in the order given; a photo named twice counts once.

    The name is that of its folder of results: the file's, or its path in the folder, without the suffix.

    Args:
        places: files and folders.

    Raises:
        MissingDataError: a place does not exist.
        DataError: there is no image, or a folder has none.
    """
    records: list[ImageRecord] = []
    for place in places:
        if place.is_dir():
            inside = ImageFolder(place).records
            if not inside:
                raise DataError(f"{place}: no image in this folder or below (looked for {' '.join(SUFFIXES)})")
            records += inside
        elif place.exists():
            records.append(ImageRecord(place.stem, place, None))
        else:
            raise MissingDataError(f"{place}: there is no such photo or folder; correct the path")
    names, seen, photos = FileNames(), set(), []
    for record in records:
        path = Path(os.path.realpath(record.image))  # a loop of links is met by whoever opens it
        if path not in seen:
            seen.add(path)
            photos.append((names.stem(record.id), path))
    return photos
