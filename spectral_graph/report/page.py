"""Writing the report: `index.html`, which is self-contained, and the same pictures as PNG files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spectral_graph.errors import ConfigError
from spectral_graph.io.files import publish_folder
from spectral_graph.report import score_tables, tables
from spectral_graph.report.charts import class_chart, convergence_charts, legend_png, spectrum_chart, stage_chart
from spectral_graph.report.content import ALL_LAYERS, ReportContent
from spectral_graph.report.gallery import Save, build_gallery
from spectral_graph.report.html import MARK, render_html
from spectral_graph.report.names import FileNames
from spectral_graph.report.pictures import SERIES
from spectral_graph.text.formatting import count, duration, percent, short_count, size


def write_report(content: ReportContent, folder: Path) -> Path:
    """Write the report of a run; an existing report is replaced once the new one is complete.

    The report is written into a folder beside `folder`, then put in place by renaming, so that a reader sees the old
    report or the new one. One process at a time may write to one `folder`.

    Args:
        content: the report.
        folder: the report's folder, e.g. ``RUN/report``; made with its parents where missing.

    Returns:
        the path of ``index.html``.

    Raises:
        ConfigError: `folder` holds something that is not a report; it is left as it is.
        DiskFullError: there is no space; the old report is left as it is.
    """
    folder = folder.absolute()
    with publish_folder(folder) as aside:
        _refuse_foreign(folder)
        html = render(content, FileNames(), lambda name, data: _write(aside / name, data))
        _write(aside / "index.html", html)
    return folder / "index.html"


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    page = folder / "index.html"
    if page.is_file():
        with page.open("rb") as file:
            if MARK.encode() in file.read(2000):
                return
    raise ConfigError(f"{folder} holds files that are not a report of this program; name another folder or empty it")


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def render(content: ReportContent, names: FileNames, save: Save) -> bytes:
    """Return the page, UTF-8; each picture is passed to `save` (name, PNG bytes)."""
    rows = build_gallery(content, names, save)
    entries = [(entry.colour, entry.name) for row in rows for legend in row.legends for entry in legend.entries]
    legend_file = names.file("", "legend")
    if entries:
        save(legend_file, legend_png(list(dict.fromkeys(entries))))
    scored = [method for method in content.methods if method["class_pixels"]]
    eigenvalues = {name: values for name, values in content.eigenvalues.items() if len(values)}
    # One table for all charts, so that a pathway has the same colour in each.
    series = [*eigenvalues, *(curve.pathway for curve in content.history), *(method["title"] for method in scored)]
    colours = {name: SERIES[index % len(SERIES)] for index, name in enumerate(dict.fromkeys(series))}
    solver_charts = [spectrum_chart(eigenvalues, colours)] if eigenvalues else []
    solver_charts += convergence_charts(content.history, colours)
    class_charts = [class_chart(scored, colours)] if scored else []
    stage_charts = [stage_chart(content.stages)] if content.stages else []
    for chart in [*solver_charts, *class_charts, *stage_charts]:
        save(names.file("", chart.name), chart.png)
    return render_html(
        "page.html.jinja",
        content.title,
        pictures="data:",
        script="viewer.js",
        content=content,
        summary=list(summary(content)),
        rows=rows,
        legend_file=legend_file,
        scored=scored,
        eigenvalues=eigenvalues,
        solver_charts=solver_charts,
        class_charts=class_charts,
        stage_charts=stage_charts,
        tables=tables,
        score_tables=score_tables,
    )


def summary(content: ReportContent) -> Iterator[tuple[str, str, str]]:
    """Yield (label, value, remark) of the figures at the top of the page; those without data are left out."""
    data = content.dataset
    yield "Images", count(data.images), f"{count(len(data.skipped))} left out" if data.skipped else "none left out"
    graphs = [graph for graph in content.graphs if graph.layer != ALL_LAYERS]
    if graphs:
        layers = len({graph.layer for graph in graphs})
        nodes = max(graph.facts["nodes"] for graph in graphs)
        edges = sum(graph.facts["stored_edges"] for graph in graphs)
        yield "Nodes", count(nodes), f"in each of {layers} layers" if layers > 1 else "in one layer"
        yield "Stored edges", short_count(edges), f"in {len(graphs)} graphs" if len(graphs) > 1 else "in one graph"
    scores = [(method["hungarian"]["miou"]["mean"], method["title"]) for method in content.methods]
    scores = [(mean, title) for mean, title in scores if mean is not None]
    if scores:
        best, title = max(scores, key=lambda pair: pair[0])
        yield "Best mean IoU", f"{percent(best)} %", f"{title}, Hungarian"
    if content.stages:
        slowest = max(content.stages, key=lambda stage: stage.seconds)
        total = sum(stage.seconds for stage in content.stages)
        yield "Time", duration(total), f"most of it in {slowest.name}"
    peaks = [(stage.peak_bytes, stage.name) for stage in content.stages if stage.peak_bytes is not None]
    if peaks:
        most, where = max(peaks)
        yield "Peak memory", size(most), f"in {where}"
