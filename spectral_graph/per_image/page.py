"""The page of a folder of results: every photo with its pictures, which lie beside the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spectral_graph.io.files import write_atomically
from spectral_graph.per_image.store import PAGE, Results
from spectral_graph.report.gallery import Group, Picture, Row
from spectral_graph.report.html import render_html
from spectral_graph.report.tables import option_tables, skipped_table, version_table
from spectral_graph.runs.directory import versions
from spectral_graph.text.formatting import decimal, percent

_PICTURES = {
    "regions": "regions laid over the photo",
    "eigenvectors": "eigenvectors 2 and on as red, green and blue, three at a time",
    "masks": "instance-like masks laid over the photo",
}


def write_page(results: Results, skipped: Sequence[tuple[str, str]], command: str) -> Path:
    """Write OUT/index.html over all photos that have a result with the options of this call.

    Args:
        results: the folder.
        skipped: (photo, reason) of those that could not be used.
        command: how the program was called.

    Returns:
        The path of the page.
    """
    options = {name: value for name, value in results.options.items() if value not in (None, "")}
    html = render_html(
        "photos.html.jinja",
        f"Photos, {results.options['model']}",
        pictures="'self' data:",
        rows=[_row(number, record) for number, record in enumerate(results.records(), start=1)],
        skipped_table=skipped_table(skipped) if skipped else None,
        option_tables=option_tables({"options": options}),
        version_table=version_table(versions()),
        command=command,
        model=results.options["model"],
    )
    write_atomically(results.path / PAGE, html)
    return results.path / PAGE


def _row(number: int, record: dict[str, Any]) -> Row:
    name = record["name"]
    height, width = record["size"]
    captions = {
        "regions": _regions_caption(record),
        "eigenvectors": f"eigenvalues {', '.join(decimal(value, 3) for value in record['eigenvalues'][:4])}, ...",
        "masks": _masks_caption(record["masks"]),
    }
    painted = []
    for what, alt in _PICTURES.items():
        file = f"{name}/{what}.png"
        panels = -(-(min(len(record["eigenvalues"]) - 1, 12)) // 3) if what == "eigenvectors" else 1
        painted.append(Picture(file, quote(file), f"{name}: {alt}", captions[what], width * panels, height, False))
    size = f"{width} x {height} pixels, {record['grid'][0]} x {record['grid'][1]} nodes, {record['graphs']} graphs"
    groups = [Group("Regions", [painted[0]]), Group("Masks", [painted[2]]), Group("Eigenvectors", [painted[1]])]
    return Row(number, name, size, groups)


def _regions_caption(record: dict[str, Any]) -> str:
    k = record["clusters"]
    if k == 1:
        return "one region: the eigenvectors differ too little"
    found = record["silhouettes"].get(str(k))
    return f"{k} regions" + ("" if found is None else f", silhouette {found:.2f}")


def _masks_caption(masks: Sequence[dict[str, float]]) -> str:
    if not masks:
        return "no mask"
    best = masks[0]
    return f"{len(masks)} masks, the best {best['score']:.2f} on {percent(best['share'])} % of the photo"
