"""What a run directory holds, as one structure: `spectral-graph info` shows it as text or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from spectral_graph.bank import Bank
from spectral_graph.config import STAGES
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.facts import GraphFacts
from spectral_graph.runs.graph_attributes import graph_attributes
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.manifest import read_manifest
from spectral_graph.runs.metrics import Method, read_metrics
from spectral_graph.runs.notes import orthogonal_notes, solution_notes
from spectral_graph.runs.titles import TITLES


class StageRecord(TypedDict):
    """A stage: ``state`` is open, running or complete; its cost is null where it is not known."""

    stage: str
    state: str
    seconds: float | None
    peak_bytes: int | None


class InputRecord(TypedDict):
    """The images and the model; ``grid`` is (height, width) in nodes."""

    dataset: str
    images: int
    skipped: int
    grid: list[int]
    nodes: int
    model: str
    device: str | None
    layers: list[str]


class GraphRecord(TypedDict):
    """How a graph was built; ``layers`` and ``all`` are null until it is finished."""

    c_intra: int
    c_inter: int
    threshold: float
    sharpen: float
    centred: bool
    hubs: str
    scope: str
    batch: int | None
    rounds: int | None
    neighbours: str | None
    layers: dict[str, GraphFacts] | None
    all: GraphFacts | None


class SolutionRecord(TypedDict):
    """What a solver found; null where it does not measure it (Eqn. 3: where --optimality left it out)."""

    solver: str
    eigenvalues: list[float] | None
    largest_residual: float | None
    rounds: int | None
    converged: bool | None
    value: float | None
    optimum: float | None
    overlap: float | None
    largest_angle: float | None


class BankRecord(TypedDict):
    """The orthogonal bank: (nodes, columns)."""

    nodes: int
    columns: int
    dtype: str
    order: str
    off_diagonal: float
    rayleigh_quotients: list[float]


class AffinityRecord(TypedDict):
    """One affinity; null for what is not computed yet."""

    kind: str
    title: str
    graph: GraphRecord | None
    solution: SolutionRecord | None
    bank: BankRecord | None


class ScoreRecord(TypedDict):
    """The scores of a method, means over the K-means seeds; null without labels."""

    method: str
    title: str
    clusters: int
    coordinate_mse: float
    miou_hungarian: float | None
    miou_greedy: float | None
    accuracy_hungarian: float | None
    accuracy_greedy: float | None
    images_scored: int | None


class RunFacts(TypedDict):
    """A run; null for what it does not hold."""

    run: str
    version: str
    preset: str
    created: str
    command: str | None
    stages: list[StageRecord]
    input: InputRecord | None
    affinities: list[AffinityRecord]
    scores: list[ScoreRecord] | None
    report: str | None


def run_facts(run: Path, name: str | None = None) -> RunFacts:
    """Gather what a run directory holds.

    Args:
        run: the run directory.
        name: how to call it, if not by its path: the URL of a published run.

    Raises:
        FormatError: there is no run, or a part of it is damaged.
    """
    manifest = read_manifest(run)
    config, called = manifest["config"], name or str(run)
    table = run / "images.json"
    metrics = run / "metrics.json"
    page = Path("report") / "index.html"
    return {
        "run": called,
        "version": manifest["version"],
        "preset": manifest["preset"],
        "created": manifest["created"],
        "command": manifest.get("command") or None,
        "stages": [_stage(stage, manifest["stages"][stage]) for stage in STAGES],
        "input": _input(ImageTable.load(table), config["dataset"]) if table.exists() else None,
        "affinities": [_affinity(run / kind, kind) for kind in config["kinds"]],
        "scores": [_score(method, entry) for method, entry in read_metrics(metrics, config["kinds"])["methods"].items()]
        if metrics.exists()
        else None,
        "report": f"{called.rstrip('/')}/{page.as_posix()}" if (run / page).exists() else None,
    }


def _stage(stage: str, record: dict[str, Any]) -> StageRecord:
    return {
        "stage": stage,
        "state": record["state"],
        "seconds": record.get("seconds"),
        "peak_bytes": record.get("peak_bytes"),
    }


def _input(table: ImageTable, dataset: str) -> InputRecord:
    return {
        "dataset": dataset,
        "images": len(table.images),
        "skipped": len(table.skipped),
        "grid": list(table.grid),
        "nodes": table.nodes,
        "model": table.model["name"],
        "device": table.model.get("device"),
        "layers": list(table.layers),
    }


def _affinity(folder: Path, kind: str) -> AffinityRecord:
    graph, bank, ortho = folder / "graph.zarr", folder / "bank", folder / "ortho"
    return {
        "kind": kind,
        "title": TITLES[kind],
        "graph": _graph(GraphStore.open(graph)) if (graph / "zarr.json").exists() else None,
        "solution": _solution(Bank.open(bank, verify=False)) if Bank.exists(bank) else None,
        "bank": _bank(Bank.open(ortho, verify=False)) if Bank.exists(ortho) else None,
    }


def _graph(store: GraphStore) -> GraphRecord:
    attributes = graph_attributes(store)
    facts = attributes.get("facts")
    batch = attributes["scope"] == "batch"
    return {
        "c_intra": attributes["c_intra"],
        "c_inter": attributes["c_inter"],
        "threshold": attributes["threshold"],
        "sharpen": attributes["sharpen"],
        "centred": attributes["centred"],
        "hubs": attributes.get("hubs", "none"),
        "scope": attributes["scope"],
        "batch": attributes["batch"] if attributes["scope"] == "batch" else None,
        "rounds": attributes["rounds"] if batch else None,
        "neighbours": attributes["neighbours"] if attributes["scope"] == "dataset" else None,
        "layers": facts["layers"] if facts else None,
        "all": facts["all"] if facts else None,
    }


def _solution(bank: Bank) -> SolutionRecord:
    notes = solution_notes(bank)
    found: SolutionRecord = {
        "solver": notes["solver"],
        "eigenvalues": None,
        "largest_residual": None,
        "rounds": None,
        "converged": None,
        "value": None,
        "optimum": None,
        "overlap": None,
        "largest_angle": None,
    }
    if notes["solver"] == "chebyshev":
        found["eigenvalues"], found["largest_residual"] = notes["eigenvalues"], max(notes["residuals"])
        found["rounds"], found["converged"] = len(notes["history"]), notes["converged"]
    measured = notes.get("optimality")
    if measured is not None:
        found["value"], found["optimum"], found["overlap"] = (measured[key] for key in ("value", "optimum", "overlap"))
        found["largest_angle"] = measured["angles"][-1] if measured["angles"] is not None else None
    return found


def _bank(bank: Bank) -> BankRecord:
    notes = orthogonal_notes(bank)
    return {
        "nodes": bank.shape[0],
        "columns": bank.shape[1],
        "dtype": bank.dtype,
        "order": notes["order"],
        "off_diagonal": notes["off_diagonal"],
        "rayleigh_quotients": notes["rayleigh_quotients"],
    }


def _score(method: str, entry: Method) -> ScoreRecord:
    hungarian, greedy = entry.get("hungarian"), entry.get("greedy")
    return {
        "method": method,
        "title": entry["title"],
        "clusters": entry["clusters"],
        "coordinate_mse": entry["coordinates"]["mse"],
        "miou_hungarian": hungarian["miou"]["mean"] if hungarian else None,
        "miou_greedy": greedy["miou"]["mean"] if greedy else None,
        "accuracy_hungarian": hungarian["accuracy"]["mean"] if hungarian else None,
        "accuracy_greedy": greedy["accuracy"]["mean"] if greedy else None,
        "images_scored": entry.get("images_scored"),
    }
