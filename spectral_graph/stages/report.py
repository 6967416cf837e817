"""Stage `report`: the results of the run as one page with pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.config import STAGES, RunConfig, stage_of
from spectral_graph.data.preprocess import Preprocess, parse_size
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.neighbours import falls_short, shortfall
from spectral_graph.node_rows import NormalisedRows
from spectral_graph.options.schema import as_typed, flag
from spectral_graph.report import content as page
from spectral_graph.report.page import write_report
from spectral_graph.report.pictures import MAX_SHOWN
from spectral_graph.runs.graph_attributes import graph_attributes, graph_facts
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.metrics import Metrics, read_metrics
from spectral_graph.runs.notes import orthogonal_notes, solution_notes
from spectral_graph.runs.titles import BASELINE, TITLES
from spectral_graph.segment.store import RegionStore
from spectral_graph.stages.context import Context, bank_of, record_of, table_of
from spectral_graph.stages.evaluate import label_reader
from spectral_graph.stages.methods import bank_rows

CONTENTS = {
    "run.json": "options, versions, state and cost of every stage",
    "images.json": "images kept and skipped, and the crop of each that the network saw",
    "features.zarr": "q, k, v of the layers and the final features, float16",
    "vv": "V-V: graph (CSR blocks in Zarr), eigenvector bank, orthogonal bank",
    "qk": "Q-K: graph (CSR blocks in Zarr), eigenvector bank, orthogonal bank",
    "kk": "K-K: graph (CSR blocks in Zarr), eigenvector bank, orthogonal bank",
    "regions.zarr": "cluster map of every image, method and K-means seed",
    "metrics.json": "all scores, graph facts, options and seed",
}


def report(context: Context) -> None:
    """Write `report/index.html` with its pictures."""
    config, table, run = context.config, table_of(context), context.run
    metrics = read_metrics(run.path / "metrics.json", config.kinds)
    content = page.ReportContent(
        title=f"{config.dataset} {context.dataset.split}, {config.model}".replace(" ,", ","),
        command=run.manifest.get("command", ""),
        created=run.manifest["created"],
        preset=run.manifest["preset"],
        options=_options(config),
        dataset=_dataset(context, table, metrics),
        versions={"spectral_graph": run.manifest["version"], **run.manifest["versions"]},
        notes=_notes(context, table, metrics),
        classes=context.dataset.classes,
        methods=[entry for entry in metrics["methods"].values() if "hungarian" in entry],
        graphs=[row for kind in config.kinds for row in _graph_rows(context, kind)],
        eigenvalues={TITLES[kind]: metrics["spectrum"][kind]["rayleigh_quotients"] for kind in config.kinds},
        residuals={TITLES[kind]: metrics["spectrum"][kind]["residuals"] or [] for kind in config.kinds},
        history=[curve for kind in config.kinds for curve in _curves(context, kind)],
        solvers=[facts for kind in config.kinds for facts in _solvers(context, kind)],
        stages=_stages(context),
        gallery=_gallery(context, table, metrics),
        licences=_licences(context, table),
        files=_files(run.path),
    )
    write_report(content, run.path / "report")


def _options(config: RunConfig) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {stage: {} for stage in STAGES}
    for name, value in config.model_dump(mode="json").items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        sections[stage_of(name)][flag(name)] = "" if shown is None else shown
    return {stage: options for stage, options in sections.items() if options}


def _dataset(context: Context, table: ImageTable, metrics: Metrics) -> page.DatasetFacts:
    config = context.config
    without = next(iter(metrics["methods"].values())).get("images_without_label", len(table.images))
    h, w = table.network_size
    how = (
        f"minor edge to {config.size} pixels, centre crop, seen as {h} x {w}"
        if config.preprocess == "crop"
        else f"whole photo resized to {config.size}, seen as {h} x {w}"
    )
    return page.DatasetFacts(
        name=context.dataset.name,
        split=context.dataset.split,
        images=len(table.images),
        unlabelled=without,
        grid=table.grid,
        network_size=table.network_size,
        preprocessing=f"{how}, {config.resample}; scored at the labels' own resolution",
        skipped=table.skipped,
    )


def _notes(context: Context, table: ImageTable, metrics: Metrics) -> list[str]:
    notes = list(context.dataset.notes)
    if table.model["note"]:
        notes.append(table.model["note"])
    unreadable = metrics["dataset"]["unreadable_labels"]
    notes += [f"The label of image {identity} counted as missing: {reason}" for identity, reason in unreadable]
    short = [TITLES[kind] for kind in context.config.kinds if metrics["spectrum"][kind]["converged"] is False]
    if short:
        notes.append(f"{', '.join(short)}: the solver stopped before its residuals reached `tol`.")
    for kind in context.config.kinds:
        layers = graph_facts(GraphStore.open(context.run.folder(kind) / "graph.zarr"))["layers"]
        notes += [
            f"{TITLES[kind]}, {layer}: {shortfall(facts)}." for layer, facts in layers.items() if falls_short(facts)
        ]
    return [as_typed(note, RunConfig.model_fields) for note in notes]


def _graph_rows(context: Context, kind: str) -> list[page.GraphRow]:
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    about, facts = graph_attributes(store), graph_facts(store)
    built = f"{kind}, {'centred' if about['centred'] else 'not centred'}, scope {about['scope']}"
    if about.get("hubs", "none") != "none":
        built += f", hubs {about['hubs']}"
    return [
        page.GraphRow(TITLES[kind], layer, built, about["threshold"], found)
        for layer, found in [*facts["layers"].items(), (page.ALL_LAYERS, facts["all"])]
    ]


def _curves(context: Context, kind: str) -> list[page.Curve]:
    notes = solution_notes(Bank.open(context.run.folder(kind) / "bank", verify=False))
    if notes["solver"] == "chebyshev":
        points = [(entry["step"], entry["residual"]) for entry in notes["history"]]
        return [page.Curve(TITLES[kind], "largest residual", "round", points, context.config.tol)]
    names = {
        "loss": "loss (Eqn. 4)" if notes["objective"] == "paper" else "loss (as released)",
        "eigenvalue": "eigenvalue term",
        "orthogonality": "orthogonality term",
        "gradient_norm": "gradient norm",
    }
    return [
        page.Curve(TITLES[kind], title, "step", [(entry["step"], entry[name]) for entry in notes["history"]])  # type: ignore[literal-required]
        for name, title in names.items()
    ]


def _solvers(context: Context, kind: str) -> list[page.SolverFacts]:
    """Return the quality of a pathway's solution, if it was measured."""
    notes = solution_notes(Bank.open(context.run.folder(kind) / "bank", verify=False))
    measured = notes.get("optimality")
    if measured is None:
        return []
    solver: str = notes["solver"]
    if notes["solver"] == "adam":
        solver += " on Eqn. 4" if notes["objective"] == "paper" else ", objective as released"
        solver += f", average {notes['ema']}" if notes["ema"] else ""
    else:
        solver += f" on the {context.config.normalisation} operator".replace("_", " ")
    return [
        page.SolverFacts(
            TITLES[kind],
            solver,
            measured["value"],
            measured["optimum"],
            measured["overlap"],
            largest_angle=measured["angles"][-1] if measured["angles"] else None,
            off_diagonal=orthogonal_notes(Bank.open(context.run.folder(kind) / "ortho", verify=False))["off_diagonal"],
        )
    ]


def _stages(context: Context) -> list[page.StageFacts]:
    records = context.run.manifest["stages"]
    return [
        page.StageFacts(name, records[name]["seconds"], records[name]["peak_bytes"], records[name]["state"])
        for name in STAGES
        if {"seconds", "peak_bytes"} <= records[name].keys() and name != "report"
    ]


def _shown_images(context: Context, table: ImageTable) -> list[int]:
    """Return the images of the gallery: evenly spread over the data set."""
    count = min(context.config.gallery, len(table.images))
    return [index * len(table.images) // count for index in range(count)]


def _gallery(context: Context, table: ImageTable, metrics: Metrics) -> list[page.GalleryItem]:
    config = context.config
    preprocess = Preprocess(config.preprocess, parse_size(config.size), config.resample)
    labels = label_reader(context, table, {})
    regions = RegionStore.open(context.run.path / "regions.zarr")
    banks = {kind: bank_of(context.run.folder(kind) / "ortho", table) for kind in config.kinds}
    items = []
    for image in _shown_images(context, table):
        kept = table.images[image]
        photo = preprocess(context.dataset.read_image(record_of(context, kept)), table.network_size).pixels
        pathways = {}
        for method in (*config.kinds, BASELINE):
            seeds = metrics["methods"][method].get("seeds")
            eigenvectors = np.zeros((*table.grid, 0), np.float32)
            if method in banks:
                of_image = slice(image * table.nodes_per_image, (image + 1) * table.nodes_per_image)
                rows = NormalisedRows(bank_rows(banks[method])).read(of_image)[:, :MAX_SHOWN]
                eigenvectors = rows.reshape(*table.grid, -1)
            pathways[TITLES[method]] = page.PathwayView(
                eigenvectors, regions.read(method, 0, image), seeds[0]["matching"]["hungarian"] if seeds else None
            )
        items.append(page.GalleryItem(kept.id, photo, labels(image), pathways))
    return items


def _licences(context: Context, table: ImageTable) -> list[page.PhotoLicence]:
    found = []
    for image in _shown_images(context, table):
        licence = context.dataset.licence(record_of(context, table.images[image]))
        if licence is not None:
            found.append(page.PhotoLicence(table.images[image].id, *licence))
    return found


def _files(run: Path) -> list[page.FileEntry]:
    entries = []
    for name, description in CONTENTS.items():
        path = run / name
        if path.exists():
            files = (p for p in (path, *path.rglob("*")) if p.is_file())
            entries.append(page.FileEntry(name, description, sum(file.stat().st_size for file in files)))
    return entries
