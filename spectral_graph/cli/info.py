"""`spectral-graph info RUN`: what a run directory holds, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spectral_graph.graph.facts import GraphFacts, fact_labels
from spectral_graph.runs.facts import (
    AffinityRecord,
    BankRecord,
    GraphRecord,
    InputRecord,
    RunFacts,
    ScoreRecord,
    SolutionRecord,
    StageRecord,
    run_facts,
)
from spectral_graph.text.columns import WIDTH, Column, command_lines, fields, table
from spectral_graph.text.formatting import count, duration, size

_NONE = "-"
_LEADING = 8
"""How many Rayleigh quotients are shown."""


def describe(run: Path, width: int = WIDTH) -> str:
    """Return a text about the run: input, stages, graphs, eigenvectors, scores.

    Raises:
        FormatError: there is no run, or a part of it is damaged.
    """
    return render(run_facts(run), width)


def render(facts: RunFacts, width: int = WIDTH) -> str:
    """Return the facts of a run as text in lines of at most `width` cells."""
    about = [("run", facts["run"]), ("made", f"{facts['created']} by spectral_graph {facts['version']}")]
    about.append(("preset", facts["preset"]))
    lines = fields([*about, *([("report", facts["report"])] if facts["report"] else [])], width)
    if facts["command"]:
        lines += ["", "command", *(f"  {line}" for line in command_lines(facts["command"], width - 2))]
    lines += ["", *_stages(facts["stages"], width)]
    if facts["input"]:
        lines += ["", *_input(facts["input"], width)]
    for affinity in facts["affinities"]:
        lines += _affinity(affinity, width)
    if facts["scores"]:
        lines += ["", *_scores(facts["scores"], width)]
    return "\n".join(lines)


def _stages(stages: list[StageRecord], width: int) -> list[str]:
    columns = [Column("stage", False), Column("state", False), Column("time"), Column("peak memory")]
    rows = [
        [
            record["stage"],
            record["state"],
            _NONE if record["seconds"] is None else duration(record["seconds"]),
            _NONE if record["peak_bytes"] is None else size(record["peak_bytes"]),
        ]
        for record in stages
    ]
    return table(columns, rows, width)


def _input(about: InputRecord, width: int) -> list[str]:
    h, w = about["grid"]
    values = [
        ("images", f"{about['images']} of {about['dataset']}, {about['skipped']} skipped"),
        ("nodes", f"{count(about['nodes'])}, {h} x {w} an image"),
        ("model", about["model"] + (f" on {about['device']}" if about["device"] else "")),
        ("layers", ", ".join(about["layers"])),
    ]
    return fields(values, width)


def _affinity(affinity: AffinityRecord, width: int) -> list[str]:
    graph, solution, bank = affinity["graph"], affinity["solution"], affinity["bank"]
    values = [*(_graph(graph) if graph else []), *(_solution(solution) if solution else [])]
    values += _bank(bank) if bank else []
    if not values:
        return []
    lines = ["", affinity["title"], *fields(values, width, 2)]
    if graph and graph["layers"] and graph["all"]:
        layers = [*graph["layers"].items(), ("all layers", graph["all"])]
        lines += ["", *_layers(layers, width)]
        if all("in_degree_quantiles" in found for _, found in layers):
            lines += ["", *_in_degrees(layers, width)]
    return lines


def _graph(graph: GraphRecord) -> list[tuple[str, str]]:
    built = (
        f"{graph['c_intra']} neighbours in the image, {graph['c_inter']} in others, threshold {graph['threshold']}, "
        f"exponent {graph['sharpen']}, {'centred' if graph['centred'] else 'not centred'}, hubs {graph['hubs']}"
    )
    scope = (
        f"mini-batches of {graph['batch']} images, {graph['rounds']} rounds"
        if graph["scope"] == "batch"
        else f"all images, neighbours {graph['neighbours']}"
    )
    return [("graph", built), ("scope", scope)]


def _solution(solution: SolutionRecord) -> list[tuple[str, str]]:
    lines, values = [("solver", solution["solver"])], solution["eigenvalues"]
    if values and solution["largest_residual"] is not None and solution["rounds"] is not None:
        lines.append(("eigenvalues", f"{len(values)} from {values[0]:.6f} to {values[-1]:.6f}"))
        rounds = f"{solution['rounds']} round{'s' if solution['rounds'] != 1 else ''}"
        short = "" if solution["converged"] else " (not converged)"
        lines.append(("residuals", f"at most {solution['largest_residual']:.1e} after {rounds}{short}"))
    if solution["value"] is not None:
        optimum = f" of at most {solution['optimum']:.6f}" if solution["optimum"] is not None else ""
        lines.append(("Eqn. 3", f"value {solution['value']:.6f}{optimum}"))
    if solution["overlap"] is not None and solution["largest_angle"] is not None:
        found = f"{solution['overlap']:.2%} of it found, largest angle {solution['largest_angle']:.2f} degrees"
        lines.append(("exact subspace", found))
    return lines


def _bank(bank: BankRecord) -> list[tuple[str, str]]:
    leading = [f"{value:.4f}" for value in bank["rayleigh_quotients"][:_LEADING]]
    more = [f"... ({len(bank['rayleigh_quotients'])} in all)"] if len(bank["rayleigh_quotients"]) > _LEADING else []
    shape = f"{bank['nodes']} x {bank['columns']} {bank['dtype']}, order {bank['order']}"
    return [
        ("orthogonal bank", f"{shape}, off-diagonal {bank['off_diagonal']:.1e}"),
        ("Rayleigh quotients", ", ".join([*leading, *more])),
    ]


def _layers(layers: list[tuple[str, GraphFacts]], width: int) -> list[str]:
    labels = fact_labels()
    columns = [Column("layer", False), *map(Column, labels.values())]
    rows = [[name, *(_fact(found, fact) for fact in labels)] for name, found in layers]
    lines = table(columns, rows, width)
    short = [name for name, found in layers[:-1] if found.get("recall", 1.0) < found.get("recall_asked", 0.0)]
    return lines + (fields([("warning", f"recall below what was asked: {', '.join(short)}")], width) if short else [])


def _fact(found: GraphFacts, fact: str) -> str:
    value: Any = found.get(fact)
    if value is None:
        return _NONE
    share = found.get("share_with_fewer_neighbours") if fact == "rows_with_fewer_neighbours" else None
    text = f"{value:.3f}" if isinstance(value, float) else count(value)
    return text if share is None else f"{text} ({share:.2%})"


def _in_degrees(layers: list[tuple[str, GraphFacts]], width: int) -> list[str]:
    shares = list(dict.fromkeys(share for _, found in layers for share in found["in_degree_quantiles"]))
    columns = [Column("in-degree of", False), *(Column(f"{float(share):.0%}") for share in shares), Column("largest")]
    rows = [
        [
            name,
            *(count(found["in_degree_quantiles"].get(share, 0)) for share in shares),
            count(found["largest_in_degree"]),
        ]
        for name, found in layers
    ]
    return table(columns, rows, width)


def _scores(scores: list[ScoreRecord], width: int) -> list[str]:
    columns = [
        Column("scores (means over the seeds)", False),
        Column("clusters"),
        Column("mIoU Hungarian"),
        Column("mIoU greedy"),
        Column("accuracy Hungarian"),
        Column("accuracy greedy"),
        Column("coordinate MSE"),
        Column("images scored"),
    ]

    def decimal(value: float | None) -> str:
        return _NONE if value is None else f"{value:.3f}"

    rows = [
        [
            entry["title"],
            count(entry["clusters"]),
            decimal(entry["miou_hungarian"]),
            decimal(entry["miou_greedy"]),
            decimal(entry["accuracy_hungarian"]),
            decimal(entry["accuracy_greedy"]),
            f"{entry['coordinate_mse']:.2f}",
            _NONE if entry["images_scored"] is None else count(entry["images_scored"]),
        ]
        for entry in scores
    ]
    return table(columns, rows, width)
