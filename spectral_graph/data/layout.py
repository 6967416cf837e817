"""Folders of photos and label maps of a data set, and the files in them that a list names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.text_file import read_lines, refuse_repetition
from spectral_graph.errors import ConfigError, MissingDataError, UnsafePathError
from spectral_graph.io.inside import inside, relative_parts

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Suffixes of photos in data sets with a list, the one of the published layouts first."""

MAP_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Suffixes of label maps: formats that keep the value of a pixel."""


def first_folder(candidates: Sequence[Path], what: str, cure: str) -> Path:
    """Return the first of `candidates` that is a folder.

    Raises:
        MissingDataError: none is; the message lists them, and ends with `cure`.
    """
    for path in candidates:
        if path.is_dir():
            return path
    raise MissingDataError(f"no folder with {what}: looked for {' and '.join(map(str, candidates))}; {cure}")


def coco_photos(root: Path, split: str) -> Path:
    """Return the folder of COCO's photos; MissingDataError if there is none."""
    cure = f"unpack the official {split}.zip there"
    return first_folder([root / split, root / "images" / split], "the photos", cure)


def choose_split(split: str | None, default: str, existing: Iterable[str], looked_for: str) -> str:
    """Return `split`, or `default` if it is None.

    Args:
        split: one part of a path.
        default: the usual split of this data set.
        existing: the splits that are there.
        looked_for: pattern of the files or folders that make a split, for the message.

    Raises:
        ConfigError: it is no plain name.
        MissingDataError: the split is not there; the message lists those that are. An existing one never replaces
            the default: the user would not know which images the scores belong to.
    """
    wanted = default if split is None else split
    found = sorted(existing)
    try:
        plain = len(relative_parts(wanted, "`split`")) == 1
    except UnsafePathError:
        plain = False
    if not plain:
        raise ConfigError(f"`split={wanted!a}` is no plain name; give the name of a split, not a path")
    if wanted in found:
        return wanted
    asked = f"the {'default ' if split is None else ''}split {wanted!r}"
    cure = f"splits there: {', '.join(found)}; name one with `split`" if found else "no split is there; check `root`"
    raise MissingDataError(f"{asked} is missing (looked for {looked_for}); {cure}")


def file_names(folder: Path) -> set[str]:
    """Return the names of the visible files in a folder; none if it is not there."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise MissingDataError(f"{folder}: this folder cannot be read ({error.strerror}); correct that") from error


def sub_folders(folder: Path) -> list[str]:
    """Return the sorted names of the visible folders in a folder; [] if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


class ListedFiles:
    """The files below a folder; each folder is listed once, when a file in it is asked for.

    Args:
        folder: the folder.
        suffixes: of the files that may be named without their suffix, the preferred one first; in lower case.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder, self._suffixes = folder, tuple(suffixes)
        self._listed: dict[Path, tuple[set[str], dict[str, str]]] = {}

    def exists(self, path: Path) -> bool:
        """Return whether a path below the folder is a file."""
        return path.name in self._of(path.parent)[0]

    def find(self, name: str, source: Path) -> Path | None:
        """Return the file of a name, which is given with or without its suffix; None if there is none.

        Raises:
            UnsafePathError: the name leads out of the folder; the message has it and `source`, which gives it.
        """
        path = inside(self.folder, name, source, follow_links=True)
        return path if self.exists(path) else self.of_stem(without_suffix(name, self._suffixes), source)

    def of_stem(self, name: str, source: Path) -> Path | None:
        """Return the file of a name that is given without its suffix; see `find`."""
        path = inside(self.folder, name, source, follow_links=True)
        found = self._of(path.parent)[1].get(path.name)
        return None if found is None else path.with_name(found)

    def stems(self) -> dict[str, Path]:
        """Return the files directly in the folder that have one of the suffixes, by their names without it, sorted."""
        return {stem: self.folder / name for stem, name in sorted(self._of(self.folder)[1].items())}

    def _of(self, folder: Path) -> tuple[set[str], dict[str, str]]:
        """Return the names in a folder, and the preferred name of each stem."""
        if folder not in self._listed:
            names = file_names(folder)
            known = [name for name in names if _suffix(name) in self._suffixes]
            # The preferred file of a stem is entered last.
            known.sort(key=lambda name: (self._suffixes.index(_suffix(name)), name), reverse=True)
            self._listed[folder] = names, {Path(name).stem: name for name in known}
        return self._listed[folder]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  much faster than Path.suffix


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """Return a path without its suffix, if that is one of `suffixes`; names of photos may hold other dots."""
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix and suffix.lower() in suffixes else name


def listed_records(source: Path, photos: Path, maps: Path) -> list[ImageRecord]:
    """Return the records of a list of images, sorted by their ids.

    Args:
        source: the list: names of photos, with or without their suffix; blank lines are skipped.
        photos: folder of the photos; one that is missing stays listed.
        maps: folder of the label maps, of the same names.

    Raises:
        DataError: the list cannot be read, or names an image twice.
        UnsafePathError: it names a file outside the folders.
    """
    photo_files, map_files = ListedFiles(photos, PHOTO_SUFFIXES), ListedFiles(maps, MAP_SUFFIXES)
    records = []
    for line in read_lines(source, "list of images", "fetch it again"):
        if not line:
            continue
        name = _listed_name(line, photo_files, source)
        photo = photo_files.find(name, source)
        key = without_suffix(name, PHOTO_SUFFIXES)
        usual = photos / f"{key}{PHOTO_SUFFIXES[0]}"
        records.append(ImageRecord(key, photo or usual, map_files.of_stem(key, source)))
    refuse_repetition((record.id for record in records), source)
    return sorted(records, key=lambda record: record.id)


def _listed_name(line: str, photos: ListedFiles, source: Path) -> str:
    """Return the name in a line of a list.

    The lists of PASCAL VOC's classes have a second column (-1, 0 or 1), and names may hold spaces: the text up to the
    first tab is the name if there is a photo of that name, otherwise its first word.
    """
    text = line.split("\t")[0].strip()
    first = text.split()[0]
    if text == first:
        return text
    try:
        return text if photos.find(text, source) is not None else first
    except UnsafePathError:
        return first  # `find` refuses it too if it is unsafe
