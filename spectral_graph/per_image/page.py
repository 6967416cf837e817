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
from spectral_graph.report.pictures import triples
from spectral_graph.report.tables import option_tables, skipped_table, version_table
from spectral_graph.runs.directory import versions
from spectral_graph.text.formatting import decimal, percent


def write_page(results: Results, skipped: Sequence[tuple[str, str]], command: str) -> Path:
    """Write OUT/index.html over all photos that have a result with the options of this call, and return its path.

    Args:
        results: the folder.
        skipped: (photo, reason) of those that could not be used.
        command: the command line.
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
    name, values, masks, k = (record[key] for key in ("name", "eigenvalues", "masks", "clusters"))
    height, width = record["size"]

    def picture(what: str, alt: str, caption: str, panels: int = 1) -> Picture:
        file = f"{name}/{what}.png"
        return Picture(file, quote(file), f"{name}: {alt}", caption, width * panels, height, False)

    silhouette = record["silhouettes"].get(str(k))
    regions = f"{k} regions" + ("" if silhouette is None else f", silhouette {silhouette:.2f}")
    regions = "one region: the eigenvectors differ too little" if k == 1 else regions
    found = "no mask"
    if masks:
        found = f"{len(masks)} masks, the best {masks[0]['score']:.2f} on {percent(masks[0]['share'])} % of the photo"
    leading = f"eigenvalues {', '.join(decimal(value, 3) for value in values[:4])}, ..."
    colours = "eigenvectors 2 and on as red, green and blue, three at a time"
    size = f"{width} x {height} pixels, {record['grid'][0]} x {record['grid'][1]} nodes, {record['graphs']} graphs"
    groups = [
        Group("Regions", [picture("regions", "regions laid over the photo", regions)]),
        Group("Masks", [picture("masks", "instance-like masks laid over the photo", found)]),
        Group("Eigenvectors", [picture("eigenvectors", colours, leading, len(triples(len(values) - 1)))]),
    ]
    return Row(number, name, size, groups)
