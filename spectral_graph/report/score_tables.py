"""The tables of scores: of each method, and of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from spectral_graph.report.charts import class_order
from spectral_graph.report.tables import Cell, Column, Table, text_column
from spectral_graph.text.formatting import DASH, count, decimal, percent


def mark_best(texts: Sequence[str], values: Sequence[float | None], highest: bool = True) -> list[bool]:
    """Return which of the values is the best as shown; ties are all best, and a single value is not marked.

    Args:
        texts: the formatted values: equal texts are equally good.
        values: None, or not finite, where there is none.
        highest: whether more is better.
    """
    known = [value is not None and math.isfinite(value) for value in values]
    pairs = [(value or 0.0, text) for value, text, there in zip(values, texts, known, strict=True) if there]
    if len(pairs) < 2:
        return [False] * len(values)
    best = (max if highest else min)(pairs)[1]
    return [there and text == best for text, there in zip(texts, known, strict=True)]


def score_table(methods: Sequence[Mapping[str, Any]]) -> Table:
    """Return the scores of methods, at least one, as in metrics.json; the best value of each column is marked."""
    columns = [text_column("Method", [method["title"] for method in methods])]
    for score, group in (("miou", "Mean IoU (%)"), ("accuracy", "Pixel accuracy (%)")):
        for matching, label in (("hungarian", "Hungarian"), ("greedy", "greedy")):
            found = [method[matching][score] for method in methods]
            means = [entry["mean"] for entry in found]
            best = mark_best([percent(mean) for mean in means], means)
            cells = [
                Cell(_mean_sd(entry["mean"], entry["sd"]), best=mark) for entry, mark in zip(found, best, strict=True)
            ]
            columns.append(Column(label, cells, group=group))
    errors = [method["coordinates"]["mse"] for method in methods]
    best = mark_best([decimal(error) for error in errors], errors, highest=False)
    columns += [
        Column(
            "Coordinate MSE",
            [Cell(decimal(error), best=mark) for error, mark in zip(errors, best, strict=True)],
            "mean squared error of a linear regression of each node's grid position, in squared cells of a 32 x 32 "
            "grid; lower is better.",
        ),
        Column(
            "Clusters",
            [count(method["clusters"]) for method in methods],
            "number of clusters K of K-means over the whole data set.",
        ),
        Column(
            "Seeds",
            [count(len(method["seeds"])) for method in methods],
            "number of K-means runs; scores are mean \N{PLUS-MINUS SIGN} standard deviation over the runs.",
        ),
        Column("Images", [count(method["images_scored"]) for method in methods], "labelled images that were scored."),
    ]
    terms = [
        ("Mean IoU", "intersection over union of matched clusters and classes, averaged over the classes."),
        ("Pixel accuracy", "share of the labelled pixels whose cluster is matched to their class."),
        ("Hungarian", "one-to-one matching that maximises agreement; a class without a cluster scores 0."),
        ("Greedy", "each cluster takes the class with which it overlaps most; several clusters may share a class."),
    ]
    return Table("scores-table", "Scores over the whole data set", columns, terms=terms)


def class_table(methods: Sequence[Mapping[str, Any]]) -> Table:
    """Return the IoU of each class, at least one, with two columns a method, the best method of each row marked."""
    names = class_order(methods)
    pairs: list[list[Column]] = [[] for _ in methods]
    for matching, label in (("hungarian", "Hungarian"), ("greedy", "greedy")):
        rows = []
        for name in names:
            values = [method[matching]["classes"].get(name, {}).get("mean") for method in methods]
            texts = [percent(value) for value in values]
            rows.append([Cell(text, best=best) for text, best in zip(texts, mark_best(texts, values), strict=True)])
        for method, pair, cells in zip(methods, pairs, zip(*rows, strict=True), strict=True):
            pair.append(Column(label, cells, group=f"{method['title']}: IoU (%)"))
    pixels = [count(max(method["class_pixels"].get(name, 0) for method in methods)) for name in names]
    columns = [text_column("Class", names), *(column for pair in pairs for column in pair)]
    columns.append(Column("Pixels", pixels, "labelled pixels of the class in the scored images."))
    terms = [("IoU", "intersection over union of the class and its clusters; bold: best method.")]
    return Table("classes-table", "IoU of each class", columns, terms=terms)


def _mean_sd(mean: float | None, sd: float | None) -> str:
    text = percent(mean)
    return text if sd is None or text == DASH else f"{text} \N{PLUS-MINUS SIGN} {percent(sd)}"
