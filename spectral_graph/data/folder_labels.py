"""Pairs of the photos in `images/` and the label maps in `labels/`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from spectral_graph.data.layout import MAP_SUFFIXES
from spectral_graph.errors import DataError

_REFUSED = (".jpg", ".jpeg", ".gif", ".webp", ".jp2", ".avif")
"""Paired only where no other file is there: reading them then reports that the format is unsuitable."""

_LABEL_FOLDERS = frozenset(
    (
        *("label", "labels", "mask", "masks", "annotation", "annotations", "gt", "groundtruth", "ground_truth"),
        *("segmentation", "segmentations", "segmentationclass", "target", "targets"),
    )
)


@dataclass(frozen=True)
class Pairing:
    """Photos and label maps of a folder.

    Attributes:
        folder: `labels/`.
        label_of: photo -> label map; photos relative to `images/`, label maps to `labels/`.
        unused: files in `labels/` that belong to no photo, relative to it, sorted.
        rivals: a photo and two label maps of it, if there is such a photo.
    """

    folder: Path
    label_of: dict[Path, Path]
    unused: tuple[Path, ...]
    rivals: tuple[Path, Path, Path] | None

    def check(self, photos: Sequence[Path]) -> None:
        """Refuse pairs that are surely not meant.

        Raises:
            DataError: no file in `labels/` belongs to a photo, or a photo has two label maps.
        """
        if self.rivals:
            photo, first, second = self.rivals
            raise DataError(f"{self.folder}: {first} and {second} are both label maps of {photo}; remove one of them")
        if self.unused and not self.label_of:
            raise DataError(
                f"{self.folder}: none of its {len(self.unused)} files has the name of a photo (the first file: "
                f"{self.unused[0]}, the first photo: {photos[0]}); the label map of images/PATH.jpg is labels/PATH.png "
                "(or .tif, .bmp), or labels/PATH.jpg.png. Rename the files, or name "
                f"{self.folder.parent / 'images'} with `root` to work without labels"
            )

    def notes(self) -> tuple[str, ...]:
        """Return sentences on files that are left out or used twice."""
        found = []
        if self.unused:
            found.append(f"{len(self.unused)} files in labels/ belong to no photo (the first: {self.unused[0]})")
        elif not self.label_of:
            found.append("labels/ is empty")
        for label, count in Counter(self.label_of.values()).most_common(1):
            if count > 1:
                found.append(f"labels/{label} is the label map of {count} photos")
        return tuple(found)


def pair(photos: Sequence[Path], files: Iterable[Path], folder: Path) -> Pairing:
    """Find the label map of each photo: the file of the same path with another suffix or with one more.

    Composed and decomposed Unicode letters count as equal: unpacking on another system changes them.

    Args:
        photos: relative to `images/`.
        files: all files in `labels/`, relative to it.
        folder: `labels/`.
    """
    files = sorted(files)
    good, refused = _by_key(files, MAP_SUFFIXES), _by_key(files, _REFUSED)
    label_of: dict[Path, Path] = {}
    rivals = None
    for photo in photos:
        whole, stem = _key(photo), _key(photo.with_suffix(""))
        found = good.get(whole) or good.get(stem) or refused.get(whole) or refused.get(stem) or []
        if len(found) > 1 and rivals is None:
            rivals = (photo, found[0], found[1])
        if found:
            label_of[photo] = found[0]
    used = set(label_of.values())
    return Pairing(folder, label_of, tuple(path for path in files if path not in used), rivals)


def refuse_label_maps_among(photos: Sequence[Path], root: Path) -> None:
    """Raise DataError if a folder named like one of label maps holds a file named like a photo beside it.

    Args:
        photos: all images found, relative to `root`.
        root: the folder, for the message.
    """
    stems = {_key(photo.with_suffix("")) for photo in photos}
    for photo in photos:
        parts = photo.with_suffix("").parts
        for place, part in enumerate(parts[:-1]):
            if part.lower() not in _LABEL_FOLDERS:
                continue
            below = [(*parts[:place], *other, *parts[place + 1 :]) for other in ((), ("images",), ("Images",))]
            twin = next((path for path in below if _key(PurePath(*path)) in stems), None)
            if twin is not None:
                folder = root.joinpath(*parts[: place + 1])
                raise DataError(
                    f"{folder} holds files named like the photos beside it ({photo} and {PurePath(*twin)}), and they "
                    "would be taken for photos; label maps are read from labels/, beside images/: arrange the folder "
                    "so and name it with `root`, or name the folder of the photos alone"
                )


def _by_key(files: Iterable[Path], suffixes: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in suffixes:
            found.setdefault(_key(path.with_suffix("")), []).append(path)
    return found


def _key(path: PurePath) -> str:
    return unicodedata.normalize("NFC", path.as_posix())
