"""The photos that a command names: files, and folders with all images in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from spectral_graph.data.walk import SUFFIXES, find_photos, photo_ids
from spectral_graph.errors import DataError, MissingDataError
from spectral_graph.io.readable import readable
from spectral_graph.per_image.store import ABOUT, PAGE
from spectral_graph.report.names import FileNames


def list_photos(places: Sequence[Path], note: Callable[[str], None]) -> list[tuple[str, Path]]:
    """Return (name, path) of each photo, in the order given; a photo named twice counts once.

    The name is that of its folder of results: the file's, or its path in the folder, without the suffix.

    Args:
        places: files and folders.
        note: called with a sentence on each kind of files and folders that are left out.

    Raises:
        MissingDataError: a place does not exist.
        DataError: a folder has no image, or holds results of this program.
    """
    listed: list[tuple[str, Path]] = []
    for place in places:
        if place.is_dir():
            folder, found = find_photos(place)
            left_out = found.left_out(place)
            if not found.files:
                raise DataError(
                    "; ".join(
                        (f"{place}: no image in this folder or below (looked for {' '.join(SUFFIXES)})", *left_out)
                    )
                )
            for sentence in left_out:
                note(sentence)
            listed += sorted(zip(photo_ids(found.files), (folder / path for path in found.files), strict=True))
        elif place.exists():
            listed.append((readable(place.stem), place))
        else:
            raise MissingDataError(f"{place}: there is no such photo or folder; correct the path")
    names, seen, photos = FileNames((PAGE, ABOUT)), set(), []
    for identity, place in listed:
        path = Path(os.path.realpath(place))  # a loop of links is met by whoever opens it
        if path not in seen:
            seen.add(path)
            photos.append((names.stem(identity), path))
    return photos
