"""Pages in a real browser: hostile names stay text, and the page's own style and script work."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import chromium
import jinja2
import pytest
from PIL import Image
from report_entries import method

from spectral_graph.per_image import page as photos_page
from spectral_graph.report import html
from spectral_graph.report.content import DatasetFacts, PhotoLicence
from spectral_graph.report.names import FileNames
from spectral_graph.report.page import write_report

pytestmark = pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium (Debian: apt install chromium)")

ATTACKED = "attacked"
HOSTILE = [
    f"<script>document.title='{ATTACKED}'</script>",
    f'"><img src=x onerror="document.title=\'{ATTACKED}\'">',
    f"' onmouseover='document.title=\"{ATTACKED}\"' x='",
    f"</style></title></svg></pre><script>document.title='{ATTACKED}'</script>",
    f"<svg onload=\"document.title='{ATTACKED}'\"><style>* {{ display: none }}</style>",
    f"javascript:document.title='{ATTACKED}'",
    "\u202egnp.exe",
    "&amp;<!--",
    "{{ 7 * 7 }}{% raw %}",
    "a b#1?c=%41.png",
    "\udcff\x00\x1b[31m",
    "n" * 3000,
]
TEXT = " ".join(HOSTILE)


@pytest.fixture(scope="module")
def browser():
    with chromium.Chromium() as browser:
        yield browser


def hostile_report(content):
    """A report in which every text is one that comes from someone else."""
    view = content.gallery[0].pathways["V-V"]
    names = [f"{number} {name}" for number, name in enumerate(HOSTILE)]
    return replace(
        content,
        title=TEXT,
        command=TEXT,
        created=TEXT,
        preset=TEXT,
        notes=HOSTILE,
        classes=HOSTILE[:4],
        options={TEXT: dict(zip(names, HOSTILE, strict=True))},
        versions=dict(zip(names, HOSTILE, strict=True)),
        dataset=DatasetFacts(TEXT, TEXT, 3, 1, (6, 8), (84, 112), TEXT, list(zip(names, HOSTILE, strict=True))),
        eigenvalues={HOSTILE[3]: [1.0, 0.5]},
        residuals={},
        history=[replace(content.history[0], pathway=HOSTILE[0], quantity=HOSTILE[1], step=HOSTILE[2])],
        methods=[
            method(HOSTILE[0], [(0.2,), (0.6,)], [(0.1,), (0.6,)], 61.37, dict.fromkeys(HOSTILE[:4], (0.3, 0.2, 5000))),
        ],
        graphs=[replace(content.graphs[0], pathway=TEXT, layer=TEXT, kind=TEXT)],
        stages=[replace(stage, name=name, state=name) for stage, name in zip(content.stages, HOSTILE, strict=False)],
        files=[replace(content.files[0], path=TEXT, description=TEXT)],
        gallery=[replace(content.gallery[0], id=name, pathways={name: view}) for name in names],
        licences=[PhotoLicence(name, text, text) for name, text in zip(names, HOSTILE, strict=True)]
        + [PhotoLicence("web", TEXT, f"https://example.org/{HOSTILE[1]}")],
    )


def photo_results(folder):
    """Results of photos with hostile names; the folders are named as the command names them."""
    names, records = FileNames(), []
    for name in [*map(names.stem, HOSTILE), "a b#1?c=%41", "caf\u00e9 &lt;", "'\""]:
        (folder / name).mkdir(parents=True)
        for what in ("regions", "eigenvectors", "masks"):
            Image.new("RGB", (9, 5)).save(folder / name / f"{what}.png")
        found = {"size": (5, 9), "grid": (2, 3), "graphs": 4, "clusters": 1, "silhouettes": {}, "masks": []}
        records.append({"name": name, "eigenvalues": [1.0, 0.5, 0.25, 0.125], **found})
    return SimpleNamespace(path=folder, options={"model": TEXT, "out": TEXT}, records=lambda: records)


def write(kind, content, folder, charts=True):
    """Write one of the two kinds of pages and return its file."""
    if kind == "report":
        report = hostile_report(content)
        if not charts:
            few = report.gallery[:2]
            report = replace(report, eigenvalues={}, history=(), methods=(), stages=(), gallery=few)
        return write_report(report, folder / "report")
    skipped = [(name, name) for name in HOSTILE]
    return photos_page.write_page(photo_results(folder), skipped, TEXT)


def without_escaping(monkeypatch):
    real = jinja2.Environment
    monkeypatch.setattr(jinja2, "Environment", lambda **options: real(**{**options, "autoescape": False}))


def without_policy(monkeypatch):
    monkeypatch.setattr(html, "policy", lambda *_: "")


@pytest.mark.parametrize("kind", ["report", "photos"])
def test_hostile_text_is_shown_as_text(browser, content, tmp_path, kind):
    seen = browser.visit(write(kind, content, tmp_path))
    assert ATTACKED not in seen.title.split() and seen.title != ATTACKED
    assert seen.refused == []
    assert seen.widths and all(width > 0 for source, width in seen.widths if source != "data:,"), seen.widths
    assert seen.columns and all(seen.columns)
    if kind == "report":
        assert seen.swatches and "rgba(0, 0, 0, 0)" not in seen.swatches
        assert len(set(seen.strokes)) > 2
    # No request leaves the machine, and no link leads to what is no page.
    assert all(urlsplit(url).scheme in ("file", "data") for url in seen.requests)
    kinds = {urlsplit(url).scheme for url in seen.links}
    assert kinds <= {"file", "data", "https", "http", ""}
    for link in seen.links:
        if link.startswith("file:") and "#" not in link:
            file = unquote(urlsplit(link).path, errors="surrogateescape")
            assert (tmp_path / file).is_file(), link


@pytest.mark.parametrize("kind", ["report", "photos"])
@pytest.mark.parametrize("fault", ["escaping", "policy", "both"])
def test_escaping_and_policy_each_stop_an_attack(browser, content, tmp_path, monkeypatch, kind, fault):
    if fault in ("escaping", "both"):
        without_escaping(monkeypatch)
    if fault in ("policy", "both"):
        without_policy(monkeypatch)
    seen = browser.visit(write(kind, content, tmp_path, charts=False))
    assert (seen.title == ATTACKED) == (fault == "both")
    assert (seen.refused != []) == (fault == "escaping")


def test_viewer_opens_and_turns_pages(browser, small, tmp_path):
    browser.visit(write_report(replace(small, stages=()), tmp_path / "report"))
    browser.run('document.querySelector("a.zoom").click()')
    assert browser.run('document.getElementById("viewer").open')
    first = browser.run('document.getElementById("viewer-caption").textContent')
    browser.run('document.getElementById("viewer-after").click()')
    assert browser.run('document.getElementById("viewer-caption").textContent') != first
    assert browser.run('document.getElementById("viewer-image").style.width').startswith("min(")
    assert browser.run('document.querySelectorAll("#viewer-key .legend i").length') > 0
    assert browser.visit(tmp_path / "report" / "index.html").refused == []
