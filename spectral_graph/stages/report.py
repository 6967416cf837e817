"""Stage `report`: everything the run found, as one page with pictures."""

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
from spectral_graph.runs.graph_attributes import graph_attributes, graph_facts
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.metrics import Mean, Method, Metrics, read_metrics
from spectral_graph.runs.notes import orthogonal_notes, solution_notes
from spectral_graph.runs.titles import BASELINE, TITLES
from spectral_graph.segment.store import RegionStore
from spectral_graph.stages.context import Context, bank_of, record_of, table_of
from spectral_graph.stages.evaluate import label_reader
from spectral_graph.stages.methods import bank_rows

SHOWN_EIGENVECTORS = 12
CONTENTS = {
    "run.json": "options, versions, state and cost of every stage",
    "images.json": "images kept and skipped, and the window of each that the network saw",
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
        scores=[_score_row(entry) for entry in metrics["methods"].values() if "hungarian" in entry],
        per_class=_per_class(metrics),
        coordinate_unit="squared cells of a 32 x 32 grid",
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


def _score_row(entry: Method) -> page.ScoreRow:
    def mean_sd(found: Mean) -> page.MeanSd:
        return page.MeanSd(float("nan") if found["mean"] is None else found["mean"], found["sd"])

    return page.ScoreRow(
        method=entry["title"],
        clusters=entry["clusters"],
        seeds=len(entry["seeds"]),
        images=entry["images_scored"],
        miou_hungarian=mean_sd(entry["hungarian"]["miou"]),
        miou_greedy=mean_sd(entry["greedy"]["miou"]),
        accuracy_hungarian=mean_sd(entry["hungarian"]["accuracy"]),
        accuracy_greedy=mean_sd(entry["greedy"]["accuracy"]),
        coordinate_mse=entry["coordinates"]["mse"],
    )


def _per_class(metrics: Metrics) -> dict[str, dict[str, page.ClassScore]]:
    table = {}
    for entry in metrics["methods"].values():
        if "hungarian" in entry:
            table[entry["title"]] = {
                name: page.ClassScore(
                    entry["hungarian"]["classes"][name]["mean"], entry["greedy"]["classes"][name]["mean"], pixels
                )
                for name, pixels in entry["class_pixels"].items()
            }
    return table


def _graph_rows(context: Context, kind: str) -> list[page.GraphFacts]:
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    about, known = graph_attributes(store), graph_facts(store)
    how = f"{kind}, {'centred' if about['centred'] else 'not centred'}, scope {about['scope']}"
    if about.get("hubs", "none") != "none":
        how += f", hubs {about['hubs']}"
    found = [*known["layers"].items(), ("all layers", known["all"])]
    return [
        page.GraphFacts(
            pathway=TITLES[kind],
            layer=layer,
            kind=how,
            nodes=facts["nodes"],
            edges=facts["stored_edges"],
            isolated=facts["isolated_nodes"],
            max_in_degree=facts["largest_in_degree"],
            mean_degree=facts["mean_degree"],
            components=facts["components"],
            threshold=about["threshold"],
            in_degrees=[(float(share), value) for share, value in facts.get("in_degree_quantiles", {}).items()],
            short_share=facts.get("share_with_fewer_neighbours"),
            recall=facts.get("recall"),
        )
        for layer, facts in found
    ]


def _curves(context: Context, kind: str) -> list[page.Curve]:
    notes = solution_notes(Bank.open(context.run.folder(kind) / "bank", verify=False))
    if notes["solver"] == "chebyshev":
        points = [(entry["step"], entry["residual"]) for entry in notes["history"]]
        return [page.Curve(TITLES[kind], "largest residual", "round", points, context.config.tol)]
    loss = "loss (Eqn. 4)" if notes["objective"] == "paper" else "loss (as released)"
    names = {"loss": loss, "eigenvalue": "eigenvalue term", "orthogonality": "orthogonality term"}
    names["gradient_norm"] = "gradient norm"
    return [
        page.Curve(TITLES[kind], title, "step", [(entry["step"], entry[name]) for entry in notes["history"]])  # type: ignore[literal-required]
        for name, title in names.items()
    ]


def _solvers(context: Context, kind: str) -> list[page.SolverFacts]:
    """Return the measures of a pathway's solution, if they were taken."""
    notes = solution_notes(Bank.open(context.run.folder(kind) / "bank", verify=False))
    measured = notes.get("optimality")
    if measured is None:
        return []
    name: str = notes["solver"]
    if notes["solver"] == "adam":
        name += " on Eqn. 4" if notes["objective"] == "paper" else ", objective as released"
        name += f", average {notes['ema']}" if notes["ema"] else ""
    else:
        name += f" on the {context.config.normalisation} operator".replace("_", " ")
    angles = measured["angles"]
    off = orthogonal_notes(Bank.open(context.run.folder(kind) / "ortho", verify=False))["off_diagonal"]
    return [
        page.SolverFacts(
            TITLES[kind],
            name,
            measured["value"],
            measured["optimum"],
            measured["overlap"],
            angles[-1] if angles else None,
            off,
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
                rows = NormalisedRows(bank_rows(banks[method])).read(of_image)[:, :SHOWN_EIGENVECTORS]
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
    for name, what in CONTENTS.items():
        path = run / name
        if path.is_file():
            entries.append(page.FileEntry(name, what, path.stat().st_size))
        elif path.is_dir():
            entries.append(page.FileEntry(name, what, sum(p.stat().st_size for p in path.rglob("*") if p.is_file())))
    return entries
