"""`spectral-graph info RUN`: what a run directory holds, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spectral_graph.bank import Bank
from spectral_graph.config import STAGES
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.manifest import read_manifest
from spectral_graph.stages.context import ImageTable
from spectral_graph.stages.graph_attributes import Facts, GraphAttributes, graph_attributes
from spectral_graph.stages.metrics import Metrics, read_metrics
from spectral_graph.stages.notes import orthogonal_notes, solution_notes
from spectral_graph.stages.titles import TITLES


def describe(run: Path) -> str:
    """Return a text about the run: input, stages, graphs, eigenvectors, scores.

    Raises:
        FormatError: there is no run, or a part of it is damaged.
    """
    manifest = read_manifest(run)
    config = manifest["config"]
    lines = [f"run {run} (spectral_graph {manifest['version']}, preset {manifest['preset']})"]
    if manifest.get("command"):
        lines.append(f"made by: {manifest['command']}")
    lines.append("stages:")
    for name in STAGES:
        record = manifest["stages"][name]
        known = {"seconds", "peak_bytes"} <= record.keys()
        cost = f", {record['seconds']:.1f} s, peak {record['peak_bytes'] / 1e9:.2f} GB" if known else ""
        lines.append(f"  {name}: {record['state']}{cost}")
    if (run / "images.json").exists():
        lines += _images(ImageTable.load(run / "images.json"), config)
    for kind in config["kinds"]:
        if (run / kind / "graph.zarr" / "zarr.json").exists():
            lines += _graph(graph_attributes(GraphStore.open(run / kind / "graph.zarr")))
        if Bank.exists(run / kind / "bank"):
            lines += _solution(Bank.open(run / kind / "bank", verify=False))
        if Bank.exists(run / kind / "ortho"):
            lines += _bank(Bank.open(run / kind / "ortho", verify=False))
    if (run / "metrics.json").exists():
        lines += _scores(read_metrics(run / "metrics.json", config["kinds"]))
    if (run / "report" / "index.html").exists():
        lines.append(f"report: {run / 'report' / 'index.html'}")
    return "\n".join(lines)


def _images(table: ImageTable, config: dict[str, Any]) -> list[str]:
    h, w = table.grid
    return [
        f"images: {len(table.images)} of {config['dataset']}, {len(table.skipped)} skipped, grid {h} x {w}, "
        f"{table.nodes} nodes",
        f"model: {table.model['name']}, layers {', '.join(table.layers)}"
        + (f", on {table.model['device']}" if "device" in table.model else ""),
    ]


def _graph(attributes: GraphAttributes) -> list[str]:
    title = TITLES[attributes["kind"]]
    lines = [
        f"graph {title}: top {attributes['c_intra']} intra + {attributes['c_inter']} inter, threshold "
        f"{attributes['threshold']}, exponent {attributes['sharpen']}, "
        f"{'centred' if attributes['centred'] else 'not centred'}, hubs {attributes.get('hubs', 'none')}, "
        + (
            f"mini-batches of {attributes['batch']} images, {attributes['rounds']} rounds"
            if attributes["scope"] == "batch"
            else f"all images, neighbours {attributes['neighbours']}"
        )
    ]
    if "facts" not in attributes:
        return lines
    for name, found in [*attributes["facts"]["layers"].items(), ("all layers", attributes["facts"]["all"])]:
        lines.append(
            f"  {name}: {found['blocks']} blocks, {found['stored_edges']} stored edges, "
            f"{found['isolated_nodes']} isolated nodes, "
            f"{found['rows_with_fewer_neighbours']} rows with fewer neighbours, "
            f"largest in-degree {found['largest_in_degree']}, {found['components']} components"
            f"{_quantiles(found)}"
        )
    return lines


def _quantiles(facts: Facts) -> str:
    """Return facts that graphs of earlier builds do not have."""
    if "in_degree_quantiles" not in facts:
        return ""
    quantiles = ", ".join(f"{float(q):.0%} {value}" for q, value in facts["in_degree_quantiles"].items())
    return (
        f" (largest {facts['largest_component']} nodes), in-degree quantiles {quantiles}, "
        f"{facts['share_with_fewer_neighbours']:.2%} of the rows with fewer neighbours, recall {facts['recall']:.3f}"
    )


def _solution(bank: Bank) -> list[str]:
    notes, lines = solution_notes(bank), []
    if notes["solver"] == "chebyshev":
        values, rounds = notes["eigenvalues"], len(notes["history"])
        lines.append(
            f"  solver {notes['solver']}: {len(values)} eigenvalues from {values[0]:.6f} to {values[-1]:.6f}, largest "
            f"residual {max(notes['residuals']):.1e} after {rounds} round{'s' if rounds > 1 else ''}"
            f"{'' if notes['converged'] else ' (not converged)'}"
        )
    measured = notes.get("yardstick")
    if measured is None:
        return lines
    line = f"  solver {notes['solver']}: value of Eqn. 3 {measured['value']:.6f}"
    if measured["optimum"] is not None:
        line += f" of at most {measured['optimum']:.6f}"
    if measured["overlap"] is not None and measured["angles"] is not None:
        overlap, angle = measured["overlap"], measured["angles"][-1]
        line += f", {overlap:.2%} of the exact subspace found, largest angle {angle:.2f} degrees"
    return [*lines, line]


def _bank(bank: Bank) -> list[str]:
    notes = orthogonal_notes(bank)
    leading = ", ".join(f"{value:.4f}" for value in notes["rayleigh_quotients"][:8])
    return [
        f"  orthogonal bank: {bank.shape[0]} x {bank.shape[1]} {bank.dtype}, order {notes['order']}, "
        f"off-diagonal {notes['off_diagonal']:.1e}; Rayleigh quotients {leading}, ..."
    ]


def _scores(metrics: Metrics) -> list[str]:
    lines = ["scores (mean over K-means seeds):"]
    for entry in metrics["methods"].values():
        parts = [f"  {entry['title']}: coordinate MSE {entry['coordinates']['mse']:.2f}"]
        if "hungarian" in entry and entry["hungarian"]["miou"]["mean"] is not None:
            hungarian, greedy = entry["hungarian"], entry["greedy"]
            parts.append(
                f"mIoU {hungarian['miou']['mean']:.3f} Hungarian / {greedy['miou']['mean']:.3f} greedy, "
                f"accuracy {hungarian['accuracy']['mean']:.3f} / {greedy['accuracy']['mean']:.3f}, "
                f"{entry['images_scored']} images scored"
            )
        lines.append(", ".join(parts))
    return lines
