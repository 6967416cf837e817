"""Writing the report: `index.html`, which needs nothing else, and the same pictures as PNG files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spectral_graph.errors import ConfigError
from spectral_graph.io.files import publish_folder
from spectral_graph.report import run_tables, score_tables
from spectral_graph.report.chart import Chart
from spectral_graph.report.colours import series_colours
from spectral_graph.report.content import ReportContent
from spectral_graph.report.gallery import Save, build_gallery
from spectral_graph.report.html import MARK, render_html
from spectral_graph.report.names import FileNames
from spectral_graph.report.plots import class_chart, convergence_charts, legend_png, spectrum_chart, stage_chart
from spectral_graph.report.summary import summary


def write_report(content: ReportContent, folder: Path) -> Path:
    """Write the report of a run; a report that is there already is replaced once the new one is complete.

    The report is written into a folder beside `folder`, then put in place by renaming, so that a reader sees the old
    report or the new one. One process at a time may write to one `folder`.

    Args:
        content: what to show.
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


def render(content: ReportContent, names: FileNames, save: Save) -> bytes:
    """Return the page, UTF-8; each picture is handed to `save` (name, PNG bytes) on the way.

    Args:
        content: what to show.
        names: hands out the file names.
        save: stores a file beside the page.
    """
    rows = build_gallery(content, names, save)
    entries = [(entry.colour, entry.name) for row in rows for legend in row.legends for entry in legend.entries]
    legend_file = names.file("", "legend")
    if entries:
        save(legend_file, legend_png(list(dict.fromkeys(entries))))
    return render_html(
        "page.html.jinja",
        content.title,
        pictures="data:",
        script="viewer.js",
        content=content,
        summary=summary(content),
        **_charts(content, names, save),
        **_tables(content),
        rows=rows,
        legend_file=legend_file,
    )


def _charts(content: ReportContent, names: FileNames, save: Save) -> dict[str, Any]:
    # One table for all charts, so that a pathway has the same colour in each.
    colours = series_colours([*content.eigenvalues, *(curve.pathway for curve in content.history), *content.per_class])
    values = {name: list(values) for name, values in content.eigenvalues.items() if len(values)}
    solver = [spectrum_chart(values, colours)] if values else []
    solver += convergence_charts(content.history, colours)
    scored = {method: scores for method, scores in content.per_class.items() if scores}
    classes = class_chart(scored, colours) if scored else None
    stages = stage_chart(content.stages) if content.stages else None
    for chart in [*solver, classes, stages]:
        if isinstance(chart, Chart):
            save(names.file("", chart.name), chart.png)
    return {"solver_charts": solver, "class_chart": classes, "stage_chart": stages}


def _tables(content: ReportContent) -> dict[str, Any]:
    scored = {method: scores for method, scores in content.per_class.items() if scores}
    values = {name: values for name, values in content.eigenvalues.items() if len(values)}
    return {
        "score_table": score_tables.score_table(content.scores, content.coordinate_unit) if content.scores else None,
        "class_table": score_tables.class_table(scored) if scored else None,
        "graph_table": run_tables.graph_table(content.graphs) if content.graphs else None,
        "eigenvalue_table": run_tables.eigenvalue_table(values, content.residuals) if values else None,
        "solver_table": run_tables.solver_table(content.solvers) if content.solvers else None,
        "stage_table": run_tables.stage_table(content.stages) if content.stages else None,
        "option_tables": run_tables.option_tables(content.options),
        "version_table": run_tables.version_table(content.versions) if content.versions else None,
        "file_table": run_tables.file_table(content.files) if content.files else None,
        "skipped_table": run_tables.skipped_table(content.dataset.skipped) if content.dataset.skipped else None,
        "licence_table": run_tables.licence_table(content.licences) if content.licences else None,
    }


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    page = folder / "index.html"
    if page.is_file():
        with page.open("rb") as file:
            if MARK.encode() in file.read(2000):
                return
    raise ConfigError(f"{folder} holds something that is not a report of ours; name another folder, or empty this one")


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
