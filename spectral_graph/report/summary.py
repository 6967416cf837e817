"""The few figures at the top of the page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spectral_graph.report.content import ALL_LAYERS, ReportContent
from spectral_graph.text.formatting import count, duration, percent, short_count, size


@dataclass(frozen=True)
class Figure:
    """One figure of the summary: what it is, its value, and a remark."""

    label: str
    value: str
    remark: str = ""


def summary(content: ReportContent) -> list[Figure]:
    """Return the figures that a reader looks for first; those without data are left out."""
    data = content.dataset
    left_out = f"{count(len(data.skipped))} left out" if data.skipped else "none left out"
    figures = [Figure("Images", count(data.images), left_out)]
    graphs = [graph for graph in content.graphs if graph.layer != ALL_LAYERS]
    if graphs:
        layers = len({graph.layer for graph in graphs})
        edges = sum(graph.edges for graph in graphs)
        nodes = max(graph.nodes for graph in graphs)
        figures.append(Figure("Nodes", count(nodes), f"in each of {layers} layers" if layers > 1 else "in one layer"))
        where = f"in {len(graphs)} graphs" if len(graphs) > 1 else "in one graph"
        figures.append(Figure("Stored edges", short_count(edges), where))
    scored = [row for row in content.scores if math.isfinite(row.miou_hungarian.mean)]
    if scored:
        best = max(scored, key=lambda row: row.miou_hungarian.mean)
        figures.append(Figure("Best mean IoU", f"{percent(best.miou_hungarian.mean)} %", f"{best.method}, Hungarian"))
    if content.stages:
        slowest = max(content.stages, key=lambda stage: stage.seconds)
        total = sum(stage.seconds for stage in content.stages)
        figures.append(Figure("Time", duration(total), f"most of it in {slowest.name}"))
    peaks = [(stage.peak_bytes, stage.name) for stage in content.stages if stage.peak_bytes is not None]
    if peaks:
        most, where = max(peaks)
        figures.append(Figure("Peak memory", size(most), f"in {where}"))
    return figures
