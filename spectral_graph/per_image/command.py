"""`spectral-graph image`: photos in, a folder of regions, eigenvectors and masks out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spectral_graph.data.images import read_image
from spectral_graph.data.preprocess import Preprocess
from spectral_graph.data.walk import SUFFIXES, find_photos, photo_ids
from spectral_graph.errors import DataError, FeatureError, ImageError, MissingDataError
from spectral_graph.features.catalogue import model_folder
from spectral_graph.features.device import describe_device, find_device
from spectral_graph.io.readable import readable
from spectral_graph.per_image.analysis import analyse
from spectral_graph.per_image.forward import PhotoBatch, PhotoSolver
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.per_image.page import write_page
from spectral_graph.per_image.store import ABOUT, PAGE, Photo, Results
from spectral_graph.progress import Reporter
from spectral_graph.report.names import FileNames
from spectral_graph.runs.directory import RunDirectory

Loaded = tuple[Photo, Image.Image]


def run_images(
    config: ImageConfig,
    places: Sequence[Path],
    out: Path,
    *,
    force: bool = False,
    command: str = "",
    reporter: Reporter | None = None,
) -> Path:
    """Analyse photos and folders of photos into the folder `out`, and return its page, OUT/index.html.

    Finished results of an earlier call are kept unless `force` is set. A result depends on the photo and the options;
    as with every product of torch, the last digits may depend on the number of threads and on which photos share a
    forward pass (`batch` neighbours in the list). The page shows the command line `command`.

    Raises:
        DataError: no photo could be used.
        StaleRunError: `out` was made with other options, or holds something else.
        SpectralGraphError: a photo's path, the model or an option cannot be used.
    """
    reporter = reporter or Reporter()
    config = _with_absolute_paths(config)
    find_device(config.device)
    photos = list_photos(places, reporter.note)
    with RunDirectory(out):
        results = Results(out, config)
        results.open(force)
        analyser = _Analyser(config, results, reporter)
        with reporter.track("image", len(photos), "photos") as progress:
            for start in range(0, len(photos), config.batch):
                window = photos[start : start + config.batch]
                analyser.analyse(window, force)
                progress.advance(len(window))
        results.note(analyser.skipped)
        page = write_page(results, analyser.skipped, command)
    if len(analyser.skipped) == len(photos):
        raise DataError(f"none of the {len(photos)} photos could be used; the first: {analyser.skipped[0][1]}")
    return page


def list_photos(places: Sequence[Path], note: Callable[[str], None]) -> list[tuple[str, Path]]:
    """Return (name, path) of each photo, in the order given; a photo named twice counts once.

    The name is that of its folder of results: the file's, or its path in the folder, without the suffix. `note` gets
    a sentence on each kind of files and folders that are left out.

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
                missing = f"{place}: no image in this folder or below (looked for {' '.join(SUFFIXES)})"
                raise DataError("; ".join((missing, *left_out)))
            for sentence in left_out:
                note(sentence)
            listed += sorted(zip(photo_ids(found.files), (folder / path for path in found.files), strict=True))
        elif place.exists():
            listed.append((readable(place.stem), place))
        else:
            raise MissingDataError(f"{place}: there is no such photo or folder; correct the path")
    names, photos = FileNames((PAGE, ABOUT)), dict[Path, str]()
    for identity, place in listed:
        path = Path(os.path.realpath(place))  # whoever opens it reports a loop of links
        if path not in photos:
            photos[path] = names.stem(identity)
    return [(name, path) for path, name in photos.items()]


def _with_absolute_paths(config: ImageConfig) -> ImageConfig:
    """Return the options with absolute paths, so that the same call from another folder has the same options."""
    folder = model_folder(config.model)
    found: dict[str, Any] = {} if folder is None else {"model": str(folder.absolute())}
    return config.model_copy(update=found if config.weights is None else found | {"weights": config.weights.absolute()})


class _Analyser:
    """Analyses photos and writes their results; the model is loaded for the first photo without a result.

    Attributes:
        skipped: (name, reason) of the photos that could not be used.
    """

    def __init__(self, config: ImageConfig, results: Results, reporter: Reporter) -> None:
        self._config, self._results, self._reporter = config, results, reporter
        self._solver: PhotoSolver | None = None
        self.skipped: list[tuple[str, str]] = []

    def analyse(self, window: Sequence[tuple[str, Path]], force: bool) -> None:
        """Analyse the photos of a window that have no result; those of one shape together."""
        photos, missing = self._photos(window, force)
        if not missing:
            return
        if self._solver is None:
            self._solver = PhotoSolver(self._config)
            if self._solver.model.note:
                self._reporter.note(self._solver.model.note)
        shapes: dict[tuple[int, int], list[Loaded]] = {}
        for photo in photos:
            try:
                image = read_image(photo.path, upright=True)
            except ImageError as error:
                self._skip(photo.name, error)
                continue
            shapes.setdefault(self._solver.size(image.height, image.width), []).append((photo, image))
        # All photos of a shape go through the model, also those that are done: an interrupted call, once it is
        # repeated, ends with the same digits.
        for size, loaded in shapes.items():
            if any(photo.name in missing for photo, _ in loaded):
                self._solve(self._solver, size, loaded, missing)

    def _photos(self, window: Sequence[tuple[str, Path]], force: bool) -> tuple[list[Photo], set[str]]:
        """Return the photos of a window whose files can be read, and the names of those without a result."""
        photos, missing = [], set()
        for name, path in window:
            try:
                photo = Photo.of(name, path)
                self._results.require_own(photo)
                if force or not self._results.is_done(photo):
                    missing.add(name)
                photos.append(photo)
            except ImageError as error:
                self._skip(name, error)
        return photos, missing

    def _solve(self, solver: PhotoSolver, size: tuple[int, int], loaded: Sequence[Loaded], missing: set[str]) -> None:
        preprocess = Preprocess("resize", size, self._config.resample)
        pixels = np.stack([preprocess(image, size).pixels for _, image in loaded])
        batch = PhotoBatch(solver, pixels, [photo.sha256 for photo, _ in loaded])
        device = describe_device(solver.device)
        about = {
            "model": {"name": solver.model.name, **asdict(solver.model.weights), "device": device},
            "layers": [layer.name for layer in solver.layers],
        }
        for row, (photo, image) in enumerate(loaded):
            if photo.name in missing:
                try:
                    solution, graphs = batch.solve(row)
                except FeatureError as error:
                    self._skip(photo.name, error)
                    continue
                analysis = analyse(solution, batch.grid, self._config)
                self._results.write(photo, image, size, analysis, {"graphs": graphs, **about})

    def _skip(self, name: str, error: Exception) -> None:
        self._reporter.note(readable(f"skipped {name}: {error}"))
        self.skipped.append((name, readable(str(error))))
