"""A small but complete report, and a reader for pages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_entries import facts, method

from spectral_graph.report.content import (
    ALL_LAYERS,
    Curve,
    DatasetFacts,
    FileEntry,
    GalleryItem,
    GraphRow,
    PathwayView,
    PhotoLicence,
    ReportContent,
    StageFacts,
)

_VOID = {"meta", "link", "img", "br", "hr", "input", "base", "col", "source", "wbr"}


@dataclass
class Page(HTMLParser):
    """The elements of a page; an unbalanced tag is recorded in `faults`."""

    ids: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    text: str = ""
    styles: str = ""
    scripts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.faults.append(f"{tag} has an attribute twice: {names}")
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.styles += data
        elif self.open and self.open[-1] == "script":
            self.scripts.append(data)
        else:
            self.text += " " + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def read():
    def read(path: Path) -> Page:
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        page.close()
        page.faults += [f"<{tag}> is never closed" for tag in page.open]
        page.text = " ".join(page.text.split())
        return page

    return read


@pytest.fixture
def content() -> ReportContent:
    rng = np.random.default_rng(7)
    classes = ("sky", "tree & bush", "road", "car")
    named = list(enumerate(classes))
    y, x = np.mgrid[:6, :8] / 7.0
    gallery = []
    for number in range(2):
        wavefront = np.stack([np.cos((k + 1) * np.pi * x + number) * np.sin(k + y) for k in range(8)], axis=-1)
        regions = (np.floor(2 * x) + 2 * np.floor(2 * y)).astype(np.int32)
        views = {
            "V-V": PathwayView(wavefront.astype(np.float32), regions, (2, 0, 1, -1, 3)),
            "Q-K": PathwayView(wavefront[..., :4].astype(np.float32), regions % 3, (3, 1, -1)),
        }
        truth = np.repeat(np.arange(-1, 3, dtype=np.int16), 12)[:, None] * np.ones((1, 64), dtype=np.int16)
        photo = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        gallery.append(GalleryItem(f"photo_{number}", photo, truth, views))
    return ReportContent(
        title="A small run",
        command="spectral-graph build --dataset camvid --out 'runs/a b'",
        created="2025-03-04T05:06:07",
        preset="best",
        options={"graph": {"c_intra": 13, "centre": True}, "solve": {"tol": 0.00123, "seeds": (0, 1), "steps": None}},
        dataset=DatasetFacts(
            "camvid", "val", 43, 2, (6, 8), (84, 112), "Resized to 84 x 112 pixels.", [("bad_1", "file is truncated")]
        ),
        versions={"torch": "2.13.7"},
        notes=["The data set is the built-in sample."],
        classes=classes,
        methods=[
            method(
                "V-V", [(0.2064, 0.0123), (0.6372, 0.0212)], [(0.1846, 0.0041), (0.6523, 0.0187)], 61.37,
                {name: (0.311 + i / 10, 0.205 + i / 10, 5000 - 1111 * i) for i, name in named},
            ),
            method(
                "Q-K", [(0.1371,), (0.4127,)], [(0.1933,), (0.4738,)], 19.54,
                {name: (0.113 if i else None, 0.777 - i / 10, 5000 - 1111 * i) for i, name in named},
            ),
            method("K-means on final features", [(0.1129,), (0.4719,)], [(0.1432,), (0.4816,)], 85.2, {}),
        ],
        graphs=[
            GraphRow("V-V", "blocks.5", "vv, centred", 0.15, facts(72013, 1440261, 17, 4525, 11.237, 23)),
            GraphRow("V-V", "blocks.6", "vv, centred", 0.15, facts(72013, 1310777, 8, 395, 9.5, 7)),
            GraphRow("V-V", ALL_LAYERS, "vv, centred", 0.15, facts(72013, 2751038, 2, 4525, 10.4, 1)),
            GraphRow("Q-K", "blocks.5", "qk, centred", 0.15, facts(72013, 1220333, 0, 28519, 7.123, 1)),
        ],
        eigenvalues={"V-V": [0.998761, 0.913254, 0.84321], "Q-K": [0.951, 0.8765]},
        residuals={"V-V": [1.4e-5, 0.00031, 0.00077], "Q-K": []},
        history=[
            Curve("V-V", "largest residual", "round", [(1, 0.5), (2, 0.01), (3, 0.0004)], 0.001),
            Curve("Q-K", "loss (Eqn. 4)", "step", [(0, 2.5), (5, 1.25)]),
        ],
        stages=[
            StageFacts("extract", 62.11, 1_912_345_678, "done"),
            StageFacts("solve", 7.25, None, "kept from an earlier run"),
        ],
        gallery=gallery,
        licences=[
            PhotoLicence("photo_0", "CC BY 2.0", "https://example.org/photo"),
            PhotoLicence("photo_1", "own work"),
        ],
        files=[FileEntry("bank/X.f32", "eigenvectors", 10_581_234)],
    )  # fmt: skip


@pytest.fixture
def bare() -> ReportContent:
    """A report of which every part that may be missing is missing."""
    facts = DatasetFacts("folder", "", 3, 3, (4, 5), (56, 70), "None.")
    return ReportContent("Bare", "spectral-graph build", "2025-01-01", "paper", {}, facts)


@pytest.fixture
def small(bare, content) -> ReportContent:
    """A report of one photo and one chart."""
    return replace(bare, title="small", gallery=content.gallery[:1], classes=content.classes, stages=content.stages[:1])
