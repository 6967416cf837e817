"""Files that a list or an annotation file names, found without asking the disk for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spectral_graph.data.dataset import ImageRecord
from spectral_graph.data.layout import file_names, listed_name, read_list, refuse_repetition
from spectral_graph.errors import UnsafePathError
from spectral_graph.io.inside import inside

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""Of the photos of a data set with a list; the first one is that of the published layouts."""

MAP_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Of label maps: formats that keep the value of a pixel."""


class ListedFiles:
    """The files of a folder and of the folders in it; every folder is listed once, when a file in it is asked for.

    Args:
        folder: the folder.
        suffixes: of the files that may be named without their suffix, the preferred one first; in lower case.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str]) -> None:
        self.folder, self._suffixes = folder, tuple(suffixes)
        self._names: dict[Path, set[str]] = {}
        self._stems: dict[Path, dict[str, str]] = {}

    def there(self, path: Path) -> bool:
        """Tell whether a path below the folder is a file."""
        return path.name in self._of(path.parent)

    def find(self, name: str, source: Path) -> Path | None:
        """Return the file of a name, which is given with or without its suffix; None if there is none.

        Raises:
            UnsafePathError: the name leads out of the folder; the message has it and `source`, which gives it.
        """
        path = inside(self.folder, name, source, follow_links=True)
        return path if self.there(path) else self.of_stem(without_suffix(name, self._suffixes), source)

    def of_stem(self, name: str, source: Path) -> Path | None:
        """Return the file of a name that is given without its suffix; see `find`."""
        path = inside(self.folder, name, source, follow_links=True)
        self._of(path.parent)
        found = self._stems[path.parent].get(path.name)
        return None if found is None else path.with_name(found)

    def stems(self) -> dict[str, Path]:
        """Return the files directly in the folder that have one of the suffixes, by their names without it, sorted."""
        self._of(self.folder)
        return {stem: self.folder / name for stem, name in sorted(self._stems[self.folder].items())}

    def _of(self, folder: Path) -> set[str]:
        if folder not in self._names:
            self._names[folder] = file_names(folder)
            found: dict[str, tuple[int, str]] = {}
            for name in sorted(self._names[folder]):
                stem, suffix = Path(name).stem, Path(name).suffix.lower()
                if suffix in self._suffixes:
                    rank = (self._suffixes.index(suffix), name)
                    found[stem] = min(found.get(stem, rank), rank)
            self._stems[folder] = {stem: name for stem, (_, name) in found.items()}
        return self._names[folder]


def without_suffix(name: str, suffixes: Sequence[str]) -> str:
    """Return a path without its suffix, if that is one of `suffixes`; names of photos may hold other dots."""
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix and suffix.lower() in suffixes else name


def listed_records(source: Path, photos: Path, maps: Path) -> list[ImageRecord]:
    """Return the records of a list of images, sorted by their ids.

    Args:
        source: the list: names of photos, with or without their suffix.
        photos: folder of the photos; one that is missing stays listed.
        maps: folder of the label maps, of the same names.

    Raises:
        DataError: the list cannot be read, or names an image twice.
        UnsafePathError: it names a file outside the folders.
    """
    photo_files, map_files = ListedFiles(photos, PHOTO_SUFFIXES), ListedFiles(maps, MAP_SUFFIXES)
    records = []
    for line in read_list(source):
        name = listed_name(line, lambda text: _exists(photo_files, text, source))
        photo = photo_files.find(name, source)
        key = without_suffix(name, PHOTO_SUFFIXES)
        usual = photos / f"{key}{PHOTO_SUFFIXES[0]}"
        records.append(ImageRecord(key, usual if photo is None else photo, map_files.of_stem(key, source)))
    refuse_repetition((record.id for record in records), source)
    return sorted(records, key=lambda record: record.id)


def _exists(files: ListedFiles, text: str, source: Path) -> bool:
    try:
        return files.find(text, source) is not None
    except UnsafePathError:
        return False  # its first word is still to be checked, and refused if it is no better
