"""Search of a folder and the folders in it for photos, without the results of this program."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import features

from spectral_graph.errors import DataError
from spectral_graph.io.readable import readable


def _suffixes() -> tuple[str, ...]:
    found = ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .tga"
    if "avif" in features.modules and features.check_module("avif"):
        found += " .avif .avifs"
    if features.check_codec("jpg_2000"):
        found += " .jp2 .j2k .j2c .jpc .jpf .jpx"
    return tuple(found.split())


SUFFIXES = _suffixes()
"""Ends of the names of photos: the formats of photos that the installed Pillow reads."""

_UNREAD = """
    .heic .heif .hif .avif .avifs .jp2 .j2k .j2c .jpc .jpf .jpx .jxl .jxr .wdp
    .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .raw .rwl .3fr .iiq .x3f .erf .kdc .mrw
    .psd .psb .xcf .kra .svg .svgz .eps .ai .exr .hdr .pfm .dcm .dicom .fits .nii .mha .nrrd .czi .lsm .svs .ndpi
    .ico .icns .cur .pcx .sgi .ras .xbm .xpm .dds .qoi .wmf .emf
    .mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .3gp .mts .m2ts
"""
_ELSEWHERE = frozenset(_UNREAD.split()) - frozenset(SUFFIXES)
"""Ends of the names of images and films that are not read."""


@dataclass(frozen=True)
class Found:
    """Result of `walk`.

    Attributes:
        files: paths relative to the folder, of the files with a suffix that was looked for.
        results: relative paths of folders that this program wrote, which are not entered; ``.`` for the folder itself.
        closed: relative paths of folders that cannot be listed.
        other: number of files by suffix, of formats of images and films that are not read.
        first: relative path of the first such file; empty if there is none.
    """

    files: tuple[Path, ...]
    results: tuple[str, ...]
    closed: tuple[str, ...]
    other: Counter[str]
    first: str

    def left_out(self, folder: Path) -> tuple[str, ...]:
        """Return a sentence on each kind of file and folder that is left out of `folder`."""
        sentences = []
        if self.other:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(self.other.items()))
            sentences.append(
                f"{folder}: {self.other.total()} files are of formats that are not read ({kinds}; the first: "
                f"{self.first}); convert them to JPEG or PNG to use them"
            )
        for paths, what in (
            (self.results, "hold results of this program and are left out"),
            (self.closed, "cannot be listed and are left out"),
        ):
            if paths:
                sentences.append(f"{folder}: {len(paths)} of the folders in it {what} (the first: {paths[0]})")
        return tuple(readable(sentence) for sentence in sentences)


def walk(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Found:
    """Find the visible files with one of `suffixes`, in any case of letters, below a folder.

    Links to folders are followed, each folder once. Folders that this program wrote are not entered. A file is listed
    by its name: whoever opens it finds out whether it is a regular file.

    Args:
        root: the folder.
        suffixes: in lower case, with the dot.
    """
    files: list[Path] = []
    results: list[str] = []
    closed: list[str] = []
    other: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        folder = root / place
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                names = {entry.name: _is_folder(entry) for entry in entries}
        except OSError:
            closed.append(place or os.curdir)
            continue
        if is_result_folder(folder, [name for name, is_folder in names.items() if not is_folder]):
            results.append(place or os.curdir)
            continue
        below = []
        for name, is_folder in names.items():
            path = f"{place}/{name}" if place else name
            if name.startswith("."):
                continue
            if is_folder:
                below.append(path)
            elif name.lower().endswith(suffixes):
                files.append(Path(path))
            elif os.path.splitext(name)[1].lower() in _ELSEWHERE:  # noqa: PTH122  much faster than Path.suffix
                other.append(path)
        waiting += sorted(below, key=os.fsencode, reverse=True)
    kinds = Counter(Path(path).suffix.lower() for path in other)
    return Found(tuple(files), tuple(sorted(results)), tuple(sorted(closed)), kinds, min(other, default=""))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def find_photos(root: Path) -> tuple[Path, Found]:
    """Walk through a folder of photos.

    Returns:
        The folder that the paths are relative to: ``root/images`` where ``root/labels`` lies beside it, else `root`;
        and what was found in it.

    Raises:
        DataError: the folder holds results of this program.
    """
    folder = root / "images" if (root / "images").is_dir() and (root / "labels").is_dir() else root
    found = walk(folder)
    if os.curdir in found.results:
        raise DataError(f"{folder} holds results of this program, no photos; name the folder that the photos are in")
    return folder, found


def photo_ids(paths: Sequence[Path]) -> list[str]:
    """Return an id for each photo: no two alike, the same in every locale, and free of surrogates.

    It is the path without the suffix; with it where that is not unique; and with a digest of its bytes where that is
    not unique either, which only names that are not UTF-8 can need.

    Args:
        paths: relative, all different.
    """
    forms = (
        lambda path: readable(path.with_suffix("").as_posix()),
        lambda path: readable(path.as_posix()),
        lambda path: f"{readable(path.as_posix())}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}",
    )
    levels = [0] * len(paths)
    while True:
        groups: dict[str, list[int]] = {}
        ids = [forms[level](path) for level, path in zip(levels, paths, strict=True)]
        for index, identity in enumerate(ids):
            groups.setdefault(identity, []).append(index)
        clashes = [group for group in groups.values() if len(group) > 1]
        if not clashes:
            return ids
        for group in clashes:
            lowest = min(levels[index] for index in group)
            for index in group:
                if levels[index] == lowest:
                    levels[index] = min(lowest + 1, len(forms) - 1)


_LOCK, _PAGE = ".lock", "index.html"
_RECORDS = {"run.json": {"stages", "config", "fingerprint"}, "image.json": {"options", "versions", "skipped"}}
"""Files at the top of a folder of results, and entries that each has."""
_PHOTO_RESULTS = {"result.json", "result.npz", "labels.png", "regions.png"}
_MARK, _HEAD = b'<meta name="generator" content="spectral_graph">', 4000
"""Mark of a report, and the bytes of the page in which it must lie."""


def is_result_folder(folder: Path, files: Collection[str]) -> bool:
    """Return whether a folder holds a run, results of photos, those of one photo, or a report.

    ``run.json`` and ``image.json`` are written before any picture, so a run that was killed is recognised too. A
    file of that name alone proves nothing: the lock must lie beside it, or its content must be that of ours.

    Args:
        folder: the folder.
        files: the names of all files in it, hidden ones too.
    """
    names = set(files)
    if names >= _PHOTO_RESULTS or ".remote.json" in names:
        return True
    for name, entries in _RECORDS.items():
        if name in names and (_LOCK in names or entries <= _entries(folder / name)):
            return True
    return _PAGE in names and _MARK in _head(folder / _PAGE, _HEAD)


def _entries(path: Path) -> set[str]:
    try:
        content: Any = json.loads(_head(path))
    except (ValueError, RecursionError):
        return set()
    return set(content) if isinstance(content, dict) else set()


def _head(path: Path, size: int = -1) -> bytes:
    """Return the first bytes of a file, all by default; nothing if it cannot be read or is no regular file."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""
