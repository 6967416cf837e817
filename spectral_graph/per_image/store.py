"""The folder of results: one folder a photo, put in place by a rename once it is complete.

OUT/image.json     options, versions, and the photos that could not be used
OUT/index.html     all photos on one page
OUT/<name>/        result.json, result.npz, labels.png, regions.png, eigenvectors.png, masks.png
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.config import PLACE
from spectral_graph.data.images import decoding
from spectral_graph.errors import FormatError, ImageError, StaleRunError
from spectral_graph.io.files import publish_folder, read_json, write_json
from spectral_graph.io.readable import readable
from spectral_graph.io.validation import validated
from spectral_graph.per_image.analysis import Analysis
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.report.pictures import colour_table, common_limits, eigenvector_picture, overlay, triples
from spectral_graph.runs.directory import strangers, versions
from spectral_graph.segment import upsample_labels

FORMAT = 1
ABOUT, PAGE = "image.json", "index.html"
RECORD = "result.json"
FILES = frozenset({RECORD, "result.npz", "labels.png", "regions.png", "eigenvectors.png", "masks.png"})
"""Files in the folder of a photo."""

LONGEST = 1024
"""Pixels of the longest side of a picture."""
_GAP = 6
"""Pixels between the pictures of eigenvectors."""
_CURE = "recompute its photos with `force`, or name another folder with `out`"


class _About(TypedDict):
    options: dict[str, Any]


class _Mask(TypedDict):
    score: float
    share: float


_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class _Result(TypedDict):
    """The entries of result.json that are read back; `_record` writes all of them."""

    format: Literal[1]
    name: str
    photo: str
    sha256: str
    size: _Pair
    grid: _Pair
    graphs: int
    clusters: int
    silhouettes: dict[str, float]
    eigenvalues: list[float]
    masks: list[_Mask]
    options: dict[str, Any]


_ABOUT_SCHEMA, _RESULT_SCHEMA = TypeAdapter(_About), TypeAdapter(_Result)


@dataclass(frozen=True)
class Photo:
    """A photo: the name of its folder of results, its file, and the SHA-256 of the file's bytes, hexadecimal."""

    name: str
    path: Path
    sha256: str

    @classmethod
    def of(cls, name: str, path: Path) -> Photo:
        """Compute the checksum of a file; raise ImageError if it cannot be read."""
        with decoding(path), path.open("rb") as file:
            return cls(name, path, hashlib.file_digest(file, "sha256").hexdigest())


class Results:
    """A folder of results, which exists, under the options of this call."""

    def __init__(self, path: Path, config: ImageConfig) -> None:
        self.path = path
        self.options: dict[str, Any] = config.model_dump(mode="json", exclude=set(PLACE))

    def open(self, force: bool) -> None:
        """Raise StaleRunError if the folder holds something else, or results of other options without `force`."""
        about = self.path / ABOUT
        if not about.exists():
            if found := strangers(self.path):
                raise StaleRunError(
                    f"{self.path} is not empty and holds no results of photos (found {found[0]}); "
                    "name another folder with `out`"
                )
        elif not force:
            old = validated(read_json(about, _CURE), _ABOUT_SCHEMA, about, _CURE)["options"]
            for name, value in self.options.items():
                if old.get(name) != value:
                    raise StaleRunError(
                        f"--{name.replace('_', '-')} is {value}, but {self.path} was made with {old.get(name)}; {_CURE}"
                    )
        self.note([])

    def note(self, skipped: list[tuple[str, str]]) -> None:
        """Write image.json: options, versions, and (photo, reason) of those that could not be used."""
        about = {"format": FORMAT, "options": self.options, "versions": versions(), "skipped": skipped}
        write_json(self.path / ABOUT, about)

    def is_done(self, photo: Photo) -> bool:
        """Return whether the photo has its result under these options.

        Raises:
            ImageError: another photo of this name has its result here.
        """
        record = self._read(photo.name)
        if record is None:
            return False
        if record["sha256"] != photo.sha256 and record["photo"] != readable(str(photo.path)):
            raise ImageError(
                f"{photo.path}: {self.path / photo.name} holds the result of another photo of this name, "
                f"{record['photo']}; name another folder with `out`"
            )
        return bool(record["sha256"] == photo.sha256 and record["options"] == self.options)

    def require_own(self, photo: Photo) -> None:
        """Raise ImageError if the photo's place holds a file or folder that this program did not write."""
        place = self.path / photo.name
        strange = [place.name] if os.path.lexists(place) else []
        if place.is_dir() and not place.is_symlink():
            strange = [path.name for path in place.iterdir() if path.name not in FILES]
        if strange:
            raise ImageError(
                f"{photo.path}: {place} holds files other than results of a photo ({strange[0]}); move it away, or "
                "name another folder with `out`"
            )

    def records(self) -> list[dict[str, Any]]:
        """Return result.json of every photo that was made with these options, by name."""
        names = sorted(p.parent.name for p in self.path.glob(f"*/{RECORD}") if not p.parent.name.startswith("."))
        found = map(self._read, names)
        return [record for record in found if record is not None and record["options"] == self.options]

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name / RECORD
        if not path.is_file():
            return None
        try:
            record: dict[str, Any] = read_json(path)
            validated(record, _RESULT_SCHEMA, path, _CURE)
        except FormatError:
            return None
        return record

    def write(
        self, photo: Photo, image: Image.Image, size: tuple[int, int], analysis: Analysis, about: dict[str, Any]
    ) -> None:
        """Put the result of a photo in place, all of it or none.

        `size` is (height, width) of the network's input; `about` has further entries of result.json: model, layers,
        graphs. Raises DiskFullError if there is no space.
        """
        with publish_folder(self.path / photo.name) as aside:
            _write_pictures(aside, image, analysis)
            _write_arrays(aside, analysis)
            record = _record(photo, image, size, analysis) | about | {"options": self.options}
            text = json.dumps(record, indent=2, allow_nan=False)
            (aside / RECORD).write_text(text + "\n", encoding="utf-8")


def _write_pictures(folder: Path, image: Image.Image, analysis: Analysis) -> None:
    regions, masks = analysis.regions, analysis.masks
    labels = regions.labels.reshape(analysis.grid)
    whole = upsample_labels(labels.astype(np.uint8 if regions.k <= 256 else np.uint16), (image.height, image.width))
    smaller = image.copy()
    smaller.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    photo = np.asarray(smaller)
    ids = np.full(analysis.grid, -1)
    for index in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):  # small masks over large ones
        ids[masks[index]] = index
    for name, array in (
        ("labels", whole),
        ("regions", overlay(photo, labels, colour_table(regions.k))),
        ("eigenvectors", _eigenvectors(analysis, (smaller.height, smaller.width))),
        ("masks", overlay(photo, ids, colour_table(max(len(masks), 1)))),
    ):
        Image.fromarray(array).save(folder / f"{name}.png", compress_level=4)


def _eigenvectors(analysis: Analysis, size: tuple[int, int]) -> np.ndarray:
    """Return the eigenvectors as colours, three in a picture of `size`, side by side: (H, W', 3) uint8.

    The first is left out, as by the authors' script: it is nearly the same everywhere.
    """
    vectors = analysis.solution.vectors[:, 1:].reshape(*analysis.grid, -1)
    limits = common_limits([vectors])
    gap = np.full((size[0], _GAP, 3), 255, np.uint8)
    panels = [(gap, eigenvector_picture(vectors, channels, limits, size)) for channels in triples(vectors.shape[-1])]
    return np.concatenate([part for panel in panels for part in panel][1:], axis=1)


def _write_arrays(folder: Path, analysis: Analysis) -> None:
    h, w = analysis.grid
    np.savez_compressed(
        folder / "result.npz",
        regions=analysis.regions.labels.reshape(h, w).astype(np.int32),
        eigenvectors=analysis.solution.vectors.reshape(h, w, -1).astype(np.float32),
        eigenvalues=analysis.solution.values,
        masks=analysis.masks,
        mask_scores=analysis.mask_scores,
    )


def _record(photo: Photo, image: Image.Image, size: tuple[int, int], analysis: Analysis) -> dict[str, Any]:
    masks = zip(analysis.mask_scores, analysis.masks, strict=True)
    return {
        "format": FORMAT,
        "name": photo.name,
        "photo": readable(str(photo.path)),
        "sha256": photo.sha256,
        "size": [image.height, image.width],
        "network_size": list(size),
        "grid": list(analysis.grid),
        "clusters": analysis.regions.k,
        "silhouettes": {str(k): value for k, value in analysis.regions.silhouettes.items()},
        "eigenvalues": analysis.solution.values.tolist(),
        "value_of_eqn_3": float(analysis.solution.values.mean()),  # a mean over the channels
        "masks": [{"score": float(score), "share": float(mask.mean())} for score, mask in masks],
    }
