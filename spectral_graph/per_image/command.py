"""`spectral-graph image`: photos in, a folder of regions, eigenvectors and masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spectral_graph.data.images import read_image
from spectral_graph.data.preprocess import Preprocess
from spectral_graph.errors import DataError, FeatureError, ImageError
from spectral_graph.features.catalogue import model_folder
from spectral_graph.features.device import describe_device, find_device
from spectral_graph.io.readable import readable
from spectral_graph.per_image.analysis import analyse
from spectral_graph.per_image.forward import PhotoSolver
from spectral_graph.per_image.listing import list_photos
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.per_image.page import write_page
from spectral_graph.per_image.store import Photo, Results
from spectral_graph.progress import Reporter
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
    """Analyse photos one by one; those that a former call finished are kept.

    A result depends on the photo and the options. As with every product of torch, the last digits may depend on the
    number of threads and on which photos share a forward pass (`batch` neighbours in the list).

    Args:
        config: the options.
        places: photos, and folders of photos.
        out: the folder of results.
        force: compute them anew, also where `out` was made with other options.
        command: how the program was called; shown on the page.
        reporter: where progress goes.

    Returns:
        The page, OUT/index.html.

    Raises:
        DataError: no photo could be used.
        StaleRunError: `out` was made with other options, or holds something else.
        SpectralGraphError: a photo's path, the model or an option cannot be used.
    """
    reporter = reporter or Reporter()
    config = _in_place(config)
    find_device(config.device)
    photos = list_photos(places, reporter.note)
    skipped: list[tuple[str, str]] = []

    def skip(name: str, error: Exception) -> None:
        reporter.note(readable(f"skipped {name}: {error}"))
        skipped.append((name, readable(str(error))))

    with RunDirectory(out):
        results = Results(out, config)
        results.open(force)
        solver: PhotoSolver | None = None
        with reporter.track("image", len(photos), "photos") as progress:
            for start in range(0, len(photos), config.batch):
                window = photos[start : start + config.batch]
                found, missing = _look(window, results, force, skip)
                if missing:
                    if solver is None:
                        solver = PhotoSolver(config)
                        if solver.model.note:
                            reporter.note(solver.model.note)
                    _work(solver, found, missing, results, skip)
                progress.advance(len(window))
        results.note(skipped)
        page = write_page(results, skipped, command)
    if len(skipped) == len(photos):
        raise DataError(f"none of the {len(photos)} photos could be used; the first: {skipped[0][1]}")
    return page


def _in_place(config: ImageConfig) -> ImageConfig:
    """Return the options with absolute paths, so that the same call from another folder has the same options."""
    folder = model_folder(config.model)
    found: dict[str, Any] = {} if folder is None else {"model": str(folder.absolute())}
    return config.model_copy(update=found if config.weights is None else found | {"weights": config.weights.absolute()})


def _look(window: Sequence[tuple[str, Path]], results: Results, force: bool, skip: Any) -> tuple[list[Photo], set[str]]:
    """Return the photos of a window whose files are there, and the names of those without a result."""
    found, missing = [], set()
    for name, path in window:
        try:
            photo = Photo.of(name, path)
            results.require_own(photo)
            if force or not results.is_done(photo):
                missing.add(name)
            found.append(photo)
        except ImageError as error:
            skip(name, error)
    return found, missing


def _work(solver: PhotoSolver, photos: Sequence[Photo], missing: set[str], results: Results, skip: Any) -> None:
    """Decode the photos of a window, and solve those of one shape together."""
    shapes: dict[tuple[int, int], list[Loaded]] = {}
    for photo in photos:
        try:
            image = read_image(photo.path, upright=True)
        except ImageError as error:
            skip(photo.name, error)
            continue
        shapes.setdefault(solver.size(image.height, image.width), []).append((photo, image))
    # All of a shape go through the model, also those that are done: so an interrupted call ends with the same digits.
    for size, loaded in shapes.items():
        if any(photo.name in missing for photo, _ in loaded):
            _solve(solver, size, loaded, missing, results, skip)


def _solve(
    solver: PhotoSolver,
    size: tuple[int, int],
    loaded: Sequence[Loaded],
    missing: set[str],
    results: Results,
    skip: Any,
) -> None:
    config = solver.config
    shape = Preprocess("resize", size, config.resample)
    pixels = np.stack([shape(image, size).pixels for _, image in loaded])
    batch = solver.begin(pixels, [photo.sha256 for photo, _ in loaded])
    about = {
        "model": {"name": solver.model.name, **asdict(solver.model.weights), "device": describe_device(solver.device)},
        "layers": [layer.name for layer in solver.layers],
    }
    for row, (photo, image) in enumerate(loaded):
        if photo.name not in missing:
            continue
        try:
            solved = batch.solve(row)
        except FeatureError as error:
            skip(photo.name, error)
            continue
        analysis = analyse(solved.solution, solved.grid, config)
        results.write(photo, image, size, analysis, {"graphs": solved.graphs, **about})
