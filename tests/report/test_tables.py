"""Tables and summary of a report, file names, formatted numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_entries import facts, method

from spectral_graph.report.charts import class_order
from spectral_graph.report.content import ALL_LAYERS, GraphRow
from spectral_graph.report.names import FileNames, slug
from spectral_graph.report.page import summary
from spectral_graph.report.score_tables import class_table, mark_best, score_table
from spectral_graph.report.tables import graph_table
from spectral_graph.text import formatting

_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@given(st.integers(0, 10**15))
def test_sizes_are_right_to_half_a_per_cent(value):
    number, unit = formatting.size(value).split(" ")
    assert float(number) * _UNITS[unit] == pytest.approx(value, rel=0.0051)
    assert len(number.replace(".", "")) <= (3 if value < 999e12 and unit != "B" else 4)


@given(st.floats(0, 10**6))
def test_times_are_right_to_half_of_their_last_place(seconds):
    text = formatting.duration(seconds)
    parts = {unit: float(number) for number, unit in re.findall(r"([\d.]+) (h|min|s)", text)}
    read = 3600 * parts.get("h", 0) + 60 * parts.get("min", 0) + parts.get("s", 0)
    # Hours are cut to whole minutes, not rounded.
    slack = 60.5 if "h" in parts else 0.5 if "min" in parts else 0.051
    assert abs(read - seconds) <= slack
    assert parts.get("s", 0) < 60 and parts.get("min", 0) < 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.424, "0.42 s"), (9.996, "10.0 s"), (59.96, "1 min 00 s"), (125, "2 min 05 s"), (7621, "2 h 07 min")],
)
def test_times(seconds, text):
    assert formatting.duration(seconds) == text


def test_other_formats():
    dash = formatting.DASH
    assert [formatting.percent(value) for value in (0.20649, None, float("nan"))] == ["20.6", dash, dash]
    assert formatting.count(72013) == "72,013"
    assert [formatting.short_count(value) for value in (6_104_000, 99_999)] == ["6.10 M", "99,999"]
    assert formatting.plain(("a", 1, None, True)) == f"a, 1, {dash}, on" and formatting.plain(0.1) == "0.1"
    assert [formatting.joined(list(names)) for names in ("a", "abc", "")] == ["a", "a, b and c", ""]
    assert formatting.decimal(0.981234) == "0.9812" and formatting.size(None) == dash


@given(st.lists(st.one_of(st.none(), st.floats(0, 1), st.just(float("nan")))), st.booleans())
def test_the_best_is_that_of_a_loop(values, highest):
    texts = [formatting.percent(value) for value in values]
    marks = mark_best(texts, values, highest)
    known = [float(text) for text in texts if text != formatting.DASH]
    best = (max if highest else min)(known) if len(known) > 1 else None
    assert marks == [text != formatting.DASH and best is not None and float(text) == best for text in texts]


@settings(max_examples=200)
@given(st.lists(st.text(max_size=100), max_size=12))
def test_names_are_safe_and_unique(ids):
    names = FileNames()
    files = [names.file(names.stem(name), what) for name in ids for what in ("photo", "vv_regions")]
    assert len({file.casefold() for file in files}) == len(files)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.png", file) and len(file) < 130 for file in files)


def test_names_keep_plain_ids_and_never_collide_with_what_follows():
    names = FileNames()
    assert names.file(names.stem("000000000009"), "photo") == "000000000009_photo.png"
    assert names.file(names.stem("x"), "vv_regions") == "x_vv_regions.png"
    assert names.file(names.stem("x_vv"), "regions") == "x_vv_regions-2.png"
    assert names.file("", "legend") == "legend.png"
    assert slug("V-V") == "vv" and slug("final features") == "final_features" and slug("***") == "pathway"


def test_totals_of_a_pathway_stand_under_the_line_and_count_once(bare):
    more = {"in_degree_quantiles": {"0.5": 1, "0.9": 4, "0.99": 20}, "share_with_fewer_neighbours": 0.025}
    graphs = [
        GraphRow("V-V", ALL_LAYERS, "vv", 0.1, facts(100, 7000, 2, 99, 6.0, 1, recall=0.96, **more)),
        GraphRow("V-V", "5", "vv", 0.1, facts(100, 2000, 3, 17, 4.0, 5)),
        GraphRow("V-V", "6", "vv", 0.1, facts(100, 5000, 4, 99, 8.0, 1)),
    ]
    table = graph_table(graphs)
    assert [row[1].text for row in table.rows] == ["5", "6", ALL_LAYERS] and table.n_totals == 1
    shown = [cell.text for cell in table.rows[-1]]
    assert "/".join(shown) == "V-V/all layers/vv/100/7,000/2/2.5/1 / 4 / 20/99/6.00/1/0.1/0.96"
    figures = {label: (value, remark) for label, value, remark in summary(replace(bare, graphs=graphs))}
    assert figures["Nodes"] == ("100", "in each of 2 layers") and figures["Stored edges"] == ("7,000", "in 2 graphs")


def test_missing_scores_are_dashes_and_never_the_best(bare):
    methods = [
        method(title, [(score, 0.1)] * 2, [(score, 0.1)] * 2, 1.0, {}) for title, score in (("a", None), ("b", 0.2))
    ]
    rows = score_table(methods).rows
    assert rows[0][1].text == formatting.DASH
    assert not any(cell.best for row in rows for cell in row[:5])
    assert "20.0 %" in {value for _, value, _ in summary(replace(bare, methods=methods))}


def test_classes_stand_in_order_of_pixels_and_methods_may_differ():
    scores = [(0.1,), (0.2,)]
    methods = [
        method("V-V", scores, scores, 1.0, {"a": (0.5, 0.25, 10), "b": (0.2, 0.3, 30)}),
        method("Q-K", scores, scores, 1.0, {"b": (0.4, None, 30), "c": (None, None, 20)}),
    ]
    assert class_order(methods) == ["b", "c", "a"]
    rows = [[(cell.text, cell.best) for cell in row] for row in class_table(methods).rows]
    dash = formatting.DASH
    assert rows[0] == [("b", False), ("20.0", False), ("30.0", False), ("40.0", True), (dash, False), ("30", False)]
    assert [cell for cell, _ in rows[1]] == ["c", dash, dash, dash, dash, "20"]
