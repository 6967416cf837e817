"""The tables of scores: of each method, and of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spectral_graph.report.content import ClassScore, MeanSd, ScoreRow
from spectral_graph.report.plots import class_order
from spectral_graph.report.table import Cell, Column, Table, mark_best
from spectral_graph.text.formatting import DASH, count, decimal, percent

_HUNGARIAN = (
    "Hungarian",
    "each cluster is matched to one class at most, so that most pixels agree; a class that gets no cluster scores 0.",
)
_GREEDY = (
    "Greedy",
    "each cluster takes the class it overlaps most; several clusters may share a class, and some classes get none.",
)

_SHARES: tuple[tuple[str, str, Callable[[ScoreRow], MeanSd]], ...] = (
    ("Mean IoU (%)", "Hungarian", lambda row: row.miou_hungarian),
    ("Mean IoU (%)", "greedy", lambda row: row.miou_greedy),
    ("Pixel accuracy (%)", "Hungarian", lambda row: row.accuracy_hungarian),
    ("Pixel accuracy (%)", "greedy", lambda row: row.accuracy_greedy),
)


def score_table(rows: Sequence[ScoreRow], unit: str) -> Table:
    """Return the scores of all methods, the best value of each column marked.

    Args:
        rows: one a method, at least one.
        unit: the unit of the coordinate error.
    """
    columns = [Column("Method", number=False), *(Column(label, group) for group, label, _ in _SHARES)]
    cells = [[Cell(row.method)] for row in rows]
    for _, _, pick in _SHARES:
        scores = [pick(row) for row in rows]
        best = mark_best([percent(score.mean) for score in scores], [score.mean for score in scores])
        for line, score, first in zip(cells, scores, best, strict=True):
            line.append(Cell(_mean_sd(score), best=first))
    errors = [row.coordinate_mse for row in rows]
    with_errors = any(error is not None for error in errors)
    if with_errors:
        columns.append(Column("Coordinate MSE"))
        texts = [decimal(error) for error in errors]
        for line, text, first in zip(cells, texts, mark_best(texts, errors, highest=False), strict=True):
            line.append(Cell(text, best=first))
    for line, row in zip(cells, rows, strict=True):
        line += [Cell(count(row.clusters)), Cell(count(row.seeds)), Cell(count(row.images))]
    columns += [Column("Clusters"), Column("Seeds"), Column("Images")]
    key = [
        ("Mean IoU", "intersection over union of matched clusters and classes, averaged over the classes."),
        ("Pixel accuracy", "share of the labelled pixels whose cluster is matched to their class."),
        _HUNGARIAN,
        _GREEDY,
        ("Clusters", "the number of regions K that K-means makes over the whole data set."),
        ("Seeds", "K-means was run this often; scores are mean \N{PLUS-MINUS SIGN} standard deviation over the runs."),
        ("Images", "labelled images that were scored."),
    ]
    if with_errors:
        sentence = f"mean squared error of a linear read-out of each node's grid position, in {unit}; lower is better."
        key.insert(4, ("Coordinate MSE", sentence))
    return Table("scores-table", "Scores over the whole data set", columns, cells, key=key)


def class_table(per_class: Mapping[str, Mapping[str, ClassScore]]) -> Table:
    """Return the IoU of each class with a pair of columns a method, the best method of each row marked.

    Args:
        per_class: method -> {class name: score}, at least one of each.
    """
    columns = [Column("Class", number=False)]
    columns += [Column(label, f"{method}: IoU (%)") for method in per_class for label in ("Hungarian", "greedy")]
    columns.append(Column("Pixels"))
    rows = []
    for name in class_order(per_class):
        found = [scores.get(name) for scores in per_class.values()]
        hungarian = _marked([score.hungarian if score else None for score in found])
        greedy = _marked([score.greedy if score else None for score in found])
        pairs = [cell for pair in zip(hungarian, greedy, strict=True) for cell in pair]
        pixels = max(score.pixels for score in found if score)
        rows.append([Cell(name), *pairs, Cell(count(pixels))])
    key = [
        (
            "IoU",
            "pixels that are in both the class and its clusters, over those that are in either; bold: best method.",
        ),
        _HUNGARIAN,
        _GREEDY,
        ("Pixels", "labelled pixels of the class in the scored images."),
    ]
    return Table("classes-table", "IoU of each class", columns, rows, key=key)


def _marked(values: list[float | None]) -> list[Cell]:
    texts = [percent(value) for value in values]
    return [Cell(text, best=best) for text, best in zip(texts, mark_best(texts, values), strict=True)]


def _mean_sd(score: MeanSd) -> str:
    text = percent(score.mean)
    return text if score.sd is None or text == DASH else f"{text} \N{PLUS-MINUS SIGN} {percent(score.sd)}"
