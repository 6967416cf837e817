"""Stage `evaluate`: regions and banks against labels and positions, into `metrics.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.config import RunConfig
from spectral_graph.data.preprocess import crop_label
from spectral_graph.errors import ImageError, StaleRunError
from spectral_graph.evaluate.coordinates import coordinate_regression
from spectral_graph.evaluate.scores import summarise
from spectral_graph.evaluate.segmentation import SegmentationResult, evaluate_labels
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.io.files import write_json
from spectral_graph.io.readable import readable
from spectral_graph.options.schema import as_typed
from spectral_graph.runs.graph_attributes import AllFacts, graph_facts
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.notes import orthogonal_notes, solution_notes
from spectral_graph.runs.titles import BASELINE, TITLES
from spectral_graph.segment.store import RegionStore
from spectral_graph.stages.context import Context, record_of, table_of
from spectral_graph.stages.label_checks import cluster_count
from spectral_graph.stages.methods import methods_of, raw_rows
from spectral_graph.version import __version__


def label_reader(context: Context, table: ImageTable, unreadable: dict[str, str]) -> Callable[[int], np.ndarray | None]:
    """Return a function that gives an image's label map, cut to what the network saw, at its own resolution.

    Label files that cannot be read count as missing and are noted in `unreadable` (id to reason).
    """

    def read(image: int) -> np.ndarray | None:
        kept = table.images[image]
        try:
            label = context.dataset.read_label(record_of(context, kept))
            return None if label is None else crop_label(label, kept.box, kept.source_size)
        except ImageError as error:
            if context.config.bad_images == "refuse":
                raise
            unreadable[kept.id] = readable(str(error))
            return None

    return read


def evaluate(context: Context) -> None:
    """Write `metrics.json`: scores of every method and seed, facts of the graphs, the options and the seed.

    Raises:
        StaleRunError: the number of classes is another one than when the regions were made.
    """
    config, table = context.config, table_of(context)
    regions = RegionStore.open(context.run.path / "regions.zarr")
    if regions.clusters != cluster_count(config, context.dataset):
        raise StaleRunError(
            f"the labels have {len(context.dataset.classes)} classes, but {context.run.path} has {regions.clusters} "
            "regions; recompute with `force=segment`"
        )
    unreadable: dict[str, str] = {}
    labels = label_reader(context, table, unreadable)
    methods = methods_of(context)
    results: dict[str, Any] = {}
    with context.reporter.track("evaluate", len(methods), "methods") as progress:
        for method in methods:
            entry: dict[str, Any] = {"title": TITLES[method], "clusters": regions.clusters}
            if context.dataset.classes:
                entry.update(_segmentation(context, table, regions, method, labels))
            regression = coordinate_regression(raw_rows(context, table, method), table.grid)
            entry["coordinates"] = regression.model_dump(mode="json")
            results[method] = entry
            progress.advance()
    for identity, reason in unreadable.items():
        context.reporter.note(f"label of image {identity} counted as missing: {reason}")
    kinds = [method for method in methods if method != BASELINE]
    write_json(
        context.run.path / "metrics.json",
        {
            "format": 1,
            "version": __version__,
            "preset": context.run.manifest["preset"],
            "config": config.model_dump(mode="json"),
            "seed": config.seed,
            "dataset": {
                "name": context.dataset.name,
                "split": context.dataset.split,
                "classes": list(context.dataset.classes),
                "images": len(table.images),
                "skipped": [list(pair) for pair in table.skipped],
                "unreadable_labels": sorted(unreadable.items()),
                "grid": list(table.grid),
                "network_size": list(table.network_size),
                "notes": [as_typed(note, RunConfig.model_fields) for note in context.dataset.notes],
            },
            "model": table.model,
            "methods": results,
            "graph": {kind: _graph_facts(context, kind) for kind in kinds},
            "spectrum": {kind: _spectrum(context, kind) for kind in kinds},
        },
    )


def _segmentation(
    context: Context,
    table: ImageTable,
    regions: RegionStore,
    method: str,
    labels: Callable[[int], np.ndarray | None],
) -> dict[str, Any]:
    runs: list[SegmentationResult] = []
    for index in range(len(regions.seeds)):
        maps = ((image, regions.read(method, index, image)) for image in range(len(table.images)))
        runs.append(evaluate_labels(maps, labels, regions.clusters, context.dataset.classes))
    first = runs[0]
    return {
        "images_scored": first.images_scored,
        "images_without_label": first.images_without_label,
        "images_ignored": first.images_ignored,
        "pixels_scored": first.pixels_scored,
        "pixels_ignored": first.pixels_ignored,
        "hungarian": summarise([run.hungarian for run in runs]),
        "greedy": summarise([run.greedy for run in runs]),
        "class_pixels": {entry.name: entry.pixels for entry in first.hungarian.classes},
        "seeds": [
            {
                "seed": seed,
                "confusion": run.confusion,
                "matching": {"hungarian": run.hungarian.matching, "greedy": run.greedy.matching},
            }
            for seed, run in zip(regions.seeds, runs, strict=True)
        ],
    }


def _graph_facts(context: Context, kind: str) -> AllFacts:
    return graph_facts(GraphStore.open(context.run.folder(kind) / "graph.zarr"))


def _spectrum(context: Context, kind: str) -> dict[str, Any]:
    folder = context.run.folder(kind)
    solved = solution_notes(Bank.open(folder / "bank", verify=False))
    ortho = orthogonal_notes(Bank.open(folder / "ortho", verify=False))
    return {
        "solver": solved["solver"],
        "eigenvalues": solved.get("eigenvalues"),
        "residuals": solved.get("residuals"),
        "converged": solved.get("converged"),
        "rayleigh_quotients": ortho["rayleigh_quotients"],
        "order": ortho["order"],
        "off_diagonal": ortho["off_diagonal"],
    }
