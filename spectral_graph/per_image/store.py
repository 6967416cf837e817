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
from spectral_graph.per_image import pictures
from spectral_graph.per_image.analysis import Analysis
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.runs.directory import strangers, versions
from spectral_graph.segment import upsample_labels

FORMAT = 1
_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
ABOUT, PAGE = "image.json", "index.html"
RECORD = "result.json"
FILES = frozenset({RECORD, "result.npz", "labels.png", "regions.png", "eigenvectors.png", "masks.png"})
"""What the folder of a photo holds."""
_CURE = "compute its photos anew with `force`, or name another folder with `out`"


class _About(TypedDict):
    options: dict[str, Any]


class _Mask(TypedDict):
    score: float
    share: float


class _Result(TypedDict):
    """What is read back of a photo's result; `_record` has all of it."""

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


_FORM, _RECORD = TypeAdapter(_About), TypeAdapter(_Result)


@dataclass(frozen=True)
class Photo:
    """A photo to be worked on.

    Attributes:
        name: of its folder of results.
        path: of the file.
        sha256: of the file's bytes, hexadecimal.
    """

    name: str
    path: Path
    sha256: str

    @classmethod
    def of(cls, name: str, path: Path) -> Photo:
        """Read the file's checksum.

        Raises:
            ImageError: the file cannot be read.
        """
        with decoding(path), path.open("rb") as file:
            return cls(name, path, hashlib.file_digest(file, "sha256").hexdigest())


class Results:
    """A folder of results.

    Args:
        path: the folder, which exists.
        config: the options of this call.
    """

    def __init__(self, path: Path, config: ImageConfig) -> None:
        self.path = path
        self.options: dict[str, Any] = config.model_dump(mode="json", exclude=set(PLACE))

    def open(self, force: bool) -> None:
        """Refuse a folder of something else, and one of other options unless they shall be replaced.

        Raises:
            StaleRunError: it was made with other options, or holds something else.
        """
        about = self.path / ABOUT
        if not about.exists():
            if found := strangers(self.path):
                raise StaleRunError(
                    f"{self.path} is not empty and holds no results of photos (found {found[0]}); "
                    "name another folder with `out`"
                )
        elif not force:
            old = validated(read_json(about, _CURE), _FORM, about, _CURE)["options"]
            for name, value in self.options.items():
                if old.get(name) != value:
                    raise StaleRunError(
                        f"--{name.replace('_', '-')} is {value}, but {self.path} was made with {old.get(name)}; {_CURE}"
                    )
        self.note([])

    def note(self, skipped: list[tuple[str, str]]) -> None:
        """Write image.json: options, versions, and (photo, reason) of those that could not be used."""
        write_json(
            self.path / ABOUT,
            {"format": FORMAT, "options": self.options, "versions": versions(), "skipped": skipped},
        )

    def is_done(self, photo: Photo) -> bool:
        """Tell whether the photo has its result under these options.

        Raises:
            ImageError: another photo of this name has its result here.
        """
        record = self._read(photo.name)
        if record is None:
            return False
        if record["sha256"] == photo.sha256:
            return bool(record["options"] == self.options)
        if record["photo"] != readable(str(photo.path)):
            raise ImageError(
                f"{photo.path}: {self.path / photo.name} holds the result of another photo of this name, "
                f"{record['photo']}; name another folder with `out`"
            )
        return False

    def require_own(self, photo: Photo) -> None:
        """Refuse what lies where the photo's results belong and is not ours: it would be lost.

        Raises:
            ImageError: there is such a thing; the message names it.
        """
        place = self.path / photo.name
        if not os.path.lexists(place):
            return
        strange = "" if place.is_dir() and not place.is_symlink() else place.name
        strange = strange or next((path.name for path in place.iterdir() if path.name not in FILES), "")
        if strange:
            raise ImageError(
                f"{photo.path}: {place} holds something else than results of a photo ({strange}); move it away, or "
                "name another folder with `out`"
            )

    def records(self) -> list[dict[str, Any]]:
        """Return result.json of every photo that was made with these options, by name."""
        names = sorted(p.parent.name for p in self.path.glob(f"*/{RECORD}") if not p.parent.name.startswith("."))
        found = [self._read(name) for name in names]
        return [record for record in found if record is not None and record["options"] == self.options]

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name / RECORD
        if not path.is_file():
            return None
        try:
            record: dict[str, Any] = read_json(path)
            validated(record, _RECORD, path, _CURE)
        except FormatError:
            return None
        return record

    def write(
        self, photo: Photo, image: Image.Image, size: tuple[int, int], analysis: Analysis, about: dict[str, Any]
    ) -> None:
        """Put the result of a photo in place, all of it or none.

        Args:
            photo: the photo.
            image: its pixels.
            size: (height, width) that the network saw.
            analysis: what was found.
            about: what else is recorded: model, layers, graphs.

        Raises:
            DiskFullError: there is no space.
        """
        with publish_folder(self.path / photo.name) as aside:
            _write_pictures(aside, image, analysis)
            _write_arrays(aside, analysis)
            record = _record(photo, image, size, analysis)
            text = json.dumps({**record, **about, "options": self.options}, indent=2, allow_nan=False)
            (aside / RECORD).write_text(text + "\n", encoding="utf-8")


def _write_pictures(folder: Path, image: Image.Image, analysis: Analysis) -> None:
    shown = pictures.shown_photo(image)
    labels = analysis.regions.labels.reshape(analysis.grid)
    size = (shown.shape[0], shown.shape[1])
    whole = upsample_labels(labels.astype(np.uint16), (image.height, image.width))
    for name, array in (
        ("labels", whole if analysis.regions.k > 256 else whole.astype(np.uint8)),
        ("regions", pictures.regions_picture(shown, analysis)),
        ("eigenvectors", pictures.eigenvectors_picture(analysis, size)),
        ("masks", pictures.masks_picture(shown, analysis)),
    ):
        Image.fromarray(array).save(folder / f"{name}.png", compress_level=4)


def _write_arrays(folder: Path, analysis: Analysis) -> None:
    h, w = analysis.grid
    np.savez_compressed(
        folder / "result.npz",
        regions=analysis.regions.labels.reshape(h, w).astype(np.int32),
        eigenvectors=analysis.solution.vectors.reshape(h, w, -1).astype(np.float32),
        eigenvalues=analysis.solution.values,
        masks=analysis.masks.masks,
        mask_scores=analysis.masks.scores,
    )


def _record(photo: Photo, image: Image.Image, size: tuple[int, int], analysis: Analysis) -> dict[str, Any]:
    masks = analysis.masks
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
        "value_of_eqn_3": analysis.value,
        "masks": [
            {"score": float(score), "share": float(mask.mean())}
            for score, mask in zip(masks.scores, masks.masks, strict=True)
        ],
    }
