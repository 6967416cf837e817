"""The page is well-formed, self-contained, complete and safe."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_entries import method

from spectral_graph.report import gallery
from spectral_graph.report.content import GalleryItem, PathwayView, PhotoLicence, ReportContent, StageFacts
from spectral_graph.report.page import write_report


def whole(seen) -> None:
    assert seen.faults == []
    assert len(set(seen.ids)) == len(seen.ids)
    for tag, attrs in seen.tags:
        for name in ("src", "href", "xlink:href", "poster", "data", "action"):
            value = attrs.get(name) or ""
            if tag != "a":
                assert value.startswith(("data:", "#")) or not value, (tag, name, value[:80])
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attrs.get(name) or "").split()) <= set(seen.ids)
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        if tag == "use" or (tag == "a" and (attrs.get("href") or "").startswith("#")):
            assert attrs["href"][1:] in seen.ids
    for clip in re.findall(
        r"url\(#([^)]*)\)", " ".join(str(value) for _, attrs in seen.tags for value in attrs.values())
    ):
        assert clip in seen.ids
    assert "url(" not in seen.styles and "@import" not in seen.styles
    kept_by_the_policy(seen)


def kept_by_the_policy(seen) -> None:
    """The policy comes first, allows the page's own style and script alone, and nothing on the page breaks it."""
    (found,) = [attrs for attrs in seen.of("meta") if "http-equiv" in attrs]
    rules = dict(rule.split(" ", 1) for rule in found["content"].split("; "))
    assert found["http-equiv"] == "Content-Security-Policy" and seen.tags.index(("meta", found)) == 3
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["style-src"] == digest(seen.styles) and len(seen.of("style")) == 1
    assert rules.get("script-src") == (digest(*seen.scripts) if seen.scripts else None)
    assert "unsafe" not in found["content"] and "*" not in found["content"]
    assert not any("style" in attrs for _, attrs in seen.tags)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_page_is_well_formed_self_contained_and_accessible(content, read, tmp_path):
    path = write_report(content, tmp_path / "report")
    seen = read(path)
    whole(seen)
    assert path == tmp_path / "report" / "index.html"
    assert seen.of("html")[0]["lang"] == "en"
    assert all(attrs["alt"] for attrs in seen.of("img") if attrs.get("id") != "viewer-image")
    assert all(attrs.get("scope") for attrs in seen.of("th"))
    assert len(seen.of("table")) == len(seen.of("caption"))
    assert len(seen.scripts) == 1
    # Every <div role=img> around a chart says what the chart shows.
    assert all(attrs["aria-label"] for attrs in seen.of("div") if attrs.get("role") == "img")


def test_pictures_are_embedded_and_saved(content, read, tmp_path):
    path = write_report(content, tmp_path / "report")
    seen = read(path)
    uris = [attrs["src"] for attrs in seen.of("img") if attrs["src"] != "data:,"]
    links = [attrs["href"] for attrs in seen.of("a") if attrs.get("class") == "zoom"]
    # Two photos, each: photo, truth; V-V 1-3, 4-6, regions, 7-8; Q-K 1-3, 4, regions.
    assert len(uris) == len(links) == len(set(links)) == 2 * 9
    for uri in uris:
        kind, data = uri.split(",", 1)
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data, validate=True))).size == (64, 48)
    for link in links:
        assert Image.open(path.parent / link).size == (64, 48)
    names = {file.name for file in path.parent.iterdir()}
    assert {"photo_0_photo.png", "photo_0_ground_truth.png", "photo_1_vv_eigenvectors_1-3.png"} <= names
    assert {"photo_1_qk_eigenvector_4.png", "photo_1_vv_regions.png", "eigenvalues.png", "class_iou.png"} <= names
    assert {"stage_times.png", "legend.png", "convergence_largest_residual.png"} <= names
    assert names == {name for name in names if name.endswith(".png")} | {"index.html"}


def test_page_shows_all_content(content, read, tmp_path):
    seen = read(write_report(content, tmp_path / "report"))
    titles = " | ".join(attrs["title"] for _, attrs in seen.tags if attrs.get("title"))
    plus = "\N{PLUS-MINUS SIGN}"
    expected = f"""
        20.6 {plus} 1.2 | 18.5 {plus} 0.4 | 63.7 {plus} 2.1 | 65.2 {plus} 1.9 | 61.37 | 19.54 | 85.2 | 13.7 | 19.3
        11.3 | 14.3 | 47.2 | 48.2 | 31.1 | 20.5 | 61.1 | 50.5 | 77.7 | 5,000 | 3,889 | 1,667 | 27 | 41 | 41.3 | 47.4
        72,013 | 1,440,261 | 1,310,777 | 1,220,333 | 4,525 | 28,519 | 11.24 | 9.50 | 7.12 | 0.15 | 3.97 M | 2,751,038
        V-V, residual | 1.4e-05 | 3.1e-04 | 7.7e-04
        0.998761 | 0.913254 | 0.84321 | 0.951 | 0.8765 | 1 min 02 s | 7.25 s | 1.91 GB | kept from an earlier run
        c_intra | 13 | 0.00123 | 0, 1 | on | 2.13.7 | bank/X.f32 | eigenvectors | 10.6 MB | CC BY 2.0 | own work
        43 | 6 x 8 nodes | 84 x 112 pixels | bad_1 | file is truncated | Resized to 84 x 112 pixels.
        A small run | camvid | val | best | tree & bush
        The data set is the built-in sample. | 2025-03-04 05:06:07
        spectral-graph build --dataset camvid --out 'runs/a b'
    """.strip()
    missing = [text for text in re.split(r" \| |\n\s*", expected) if text not in seen.text]
    assert missing == [] and "Q-K, residual" not in seen.text
    assert "1912345678 bytes" in titles and "10581234 bytes" in titles and "62.11 seconds" in titles
    labels = " ".join(attrs["aria-label"] for attrs in seen.of("div") if attrs.get("role") == "img")
    for text in ("0.5 at round 1", "0.0004 at round 3", "2.5 at step 0", "1.25 at step 5"):
        assert text in labels


def test_best_of_each_column_is_bold(content, tmp_path):
    html = write_report(content, tmp_path / "report").read_text(encoding="utf-8")
    table = html[html.index('id="scores-table"') : html.index("</table>", html.index('id="scores-table"'))]
    plus = "\N{PLUS-MINUS SIGN}"
    bold = re.findall(r"<strong>(.*?)</strong>", table)
    assert bold == [f"20.6 {plus} 1.2", f"63.7 {plus} 2.1", f"65.2 {plus} 1.9", "19.3", "19.54"]


def test_share_of_correct_pixels_is_that_of_a_loop(content, read, tmp_path):
    seen = read(write_report(content, tmp_path / "report"))
    item = content.gallery[0]
    for view in item.pathways.values():
        correct = labelled = 0
        for row in range(48):
            for column in range(64):
                truth = item.ground_truth[row, column]
                if truth >= 0:
                    labelled += 1
                    correct += view.matched[view.regions[row // 8, column // 8]] == truth
        assert f"regions, {100 * correct / labelled:.1f} % correct" in seen.text


HOSTILE = "<script>alert('x')</script>\"'&amp;--></style></svg>"


def test_hostile_text_stays_text(content, read, tmp_path):
    view = content.gallery[0].pathways["V-V"]
    item = replace(content.gallery[0], id=HOSTILE, pathways={HOSTILE: view})
    hostile = replace(
        content,
        title=HOSTILE,
        command=HOSTILE,
        notes=[HOSTILE],
        classes=(HOSTILE, "b", "c", "d"),
        options={HOSTILE: {HOSTILE: HOSTILE}},
        eigenvalues={HOSTILE: [1.0, 0.5]},
        history=[replace(content.history[0], pathway=HOSTILE, quantity=HOSTILE, step=HOSTILE)],
        methods=[method(HOSTILE, [(0.2,), (0.6,)], [(0.1,), (0.6,)], 61.37, {HOSTILE: (0.3, 0.2, 5000)})],
        graphs=[replace(content.graphs[0], pathway=HOSTILE, layer=HOSTILE)],
        stages=[replace(content.stages[0], name=HOSTILE)],
        gallery=[item],
        licences=[
            PhotoLicence(HOSTILE, HOSTILE, "javascript:alert(1)"),
            PhotoLicence("b", "c", f"https://x/{HOSTILE}"),
        ],
    )
    path = write_report(hostile, tmp_path / "report")
    seen = read(path)
    whole(seen)
    assert len(seen.scripts) == 1 and "alert" not in seen.scripts[0]
    assert seen.text.count(HOSTILE) > 12
    assert "javascript:alert(1)" in seen.text
    assert all(not (attrs.get("href") or "").startswith("javascript") for attrs in seen.of("a"))
    assert all(file.parent == path.parent for file in path.parent.rglob("*"))


@pytest.mark.parametrize(
    "name",
    ["$x$", "_hidden", ' id="x" style="color: red" #1b2733', "a\\b", "\u6f22\u5b57", "50%", "\udc80", ""],
)
def test_odd_names_in_charts(content, read, tmp_path, name, bare):
    scored = method(name, [(0.2,), (0.6,)], [(0.1,), (0.6,)], 61.37, {name: (0.3, 0.2, 5000)})
    odd = replace(bare, methods=[scored], title=f"about {name}")
    seen = read(write_report(odd, tmp_path / "report"))
    whole(seen)
    assert ("\\udc80" if name == "\udc80" else name) in seen.text


def with_views(content, change, **more):
    """Return the report with other pathways in its gallery: `change` maps the pathways of a photo."""
    return replace(content, gallery=[replace(i, pathways=change(i.pathways), **more) for i in content.gallery])


NO_VECTORS = np.zeros((6, 8, 0), np.float32)
WITHOUT = {
    "labels": lambda c: with_views(
        replace(c, classes=(), methods=()),
        lambda views: {name: replace(view, matched=None) for name, view in views.items()},
        ground_truth=None,
    ),
    "Q-K": lambda c: with_views(
        replace(c, eigenvalues={"V-V": c.eigenvalues["V-V"]}, graphs=c.graphs[:2]), lambda views: {"V-V": views["V-V"]}
    ),
    "regions": lambda c: with_views(c, lambda views: {"V-V": replace(views["V-V"], regions=None)}),
    "points": lambda c: replace(c, history=[replace(c.history[0], points=[])]),
    "eigenvalues": lambda c: replace(c, eigenvalues={"V-V": []}),
    "everything": lambda c: ReportContent("Bare", c.command, c.created, c.preset, {}, c.dataset),
    "eigenvectors": lambda c: with_views(
        c,
        lambda views: {
            **views,
            "K-means": PathwayView(NO_VECTORS, views["V-V"].regions, (0, 1, 2, 3, 4)),
            "nothing": PathwayView(NO_VECTORS),
        },
    ),
    "pathways": lambda c: with_views(c, lambda views: {}),
    **{
        name: lambda c, name=name: replace(c, **{name: ()})
        for name in ("history", "licences", "gallery", "stages", "graphs", "files")
    },
}


@pytest.mark.parametrize("part", WITHOUT)
def test_missing_parts_are_left_out(content, read, tmp_path, part):
    seen = read(write_report(WITHOUT[part](content), tmp_path / "report"))
    whole(seen)
    assert "None" not in seen.text.replace("None.", "")
    if part == "labels":
        assert "Hungarian" not in seen.text and "ground truth" not in seen.text and "V-V cluster 1" in seen.text
    if part == "eigenvectors":
        assert "kmeans_regions" in str(seen.tags) and "nothing" not in seen.text
    if part == "Q-K":
        assert "V-V" in seen.text and "vv_regions" in str(seen.tags) and "qk_regions" not in str(seen.tags)


def test_pictures_shrink_to_the_page_budget(content, monkeypatch, tmp_path, bare):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (300, 400, 3), dtype=np.uint8) for _ in range(3)]
    items = [GalleryItem(str(i), photo, None, {}) for i, photo in enumerate(noise)]
    monkeypatch.setattr(gallery, "PAGE_BUDGET", 90_000)
    path = write_report(replace(bare, gallery=items), tmp_path / "report")
    assert path.stat().st_size < 90_000 * 4 / 3 + 40_000
    assert Image.open(path.parent / "0_photo.png").size == (400, 300)
    assert np.array_equal(np.asarray(Image.open(path.parent / "2_photo.png")), noise[2])


def test_unusual_ids_give_unique_files(content, read, tmp_path, bare):
    ids = ["a/b", "a_b", "A_B", "a:b", "", ".hidden", "..", "a" * 300, "a" * 301, "a_b", "x y", "caf\u00e9", "x_vv"]
    view = PathwayView(np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), int))
    photo = np.zeros((8, 8, 3), np.uint8)
    items = [GalleryItem(name, photo, None, {"V-V": view}) for name in ids]
    path = write_report(replace(bare, gallery=items), tmp_path / "report")
    whole(read(path))
    names = [file.name for file in path.parent.glob("*.png")]
    assert len(names) == 3 * len(ids) + 1
    assert len({name.casefold() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.png", name) and len(name) < 140 for name in names)
    assert "x_vv_photo.png" in names


def test_missing_numbers_become_dashes(read, tmp_path, bare):
    stages = [StageFacts("extract", float("nan"), None, "failed")]
    seen = read(write_report(replace(bare, stages=stages), tmp_path / "report"))
    whole(seen)
    assert "nan" not in seen.text.lower() and "\N{EN DASH}" in seen.text


def test_importing_report_does_not_import_matplotlib():
    code = (
        "import sys; import spectral_graph.report.page, spectral_graph.report.content; "
        "print([m for m in ('matplotlib', 'jinja2', 'torch', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
