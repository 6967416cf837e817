"""Scores of one confusion matrix over a data set, and their mean and standard deviation over K-means seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from spectral_graph.errors import ConfigError
from spectral_graph.evaluate.confusion import check_confusion

MatchingKind = Literal["greedy", "hungarian"]


class ClassScore(BaseModel):
    """Score of one class.

    Attributes:
        name: the class.
        iou: true positives / (true positives + false positives + false negatives); None if the class is
            neither in the ground truth nor predicted.
        precision: true positives / pixels predicted as the class; None if none is predicted.
        recall: true positives / pixels of the class; None if it has none.
        pixels: pixels of the class in the ground truth.
        predicted: pixels predicted as the class.
        present: whether the class is in the ground truth.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    pixels: int
    predicted: int
    present: bool


class Scores(BaseModel):
    """Scores of one confusion matrix under one matching; all of them fractions of 1, not percent.

    Attributes:
        matched_by: how clusters were matched to classes.
        miou: mean IoU over the classes that occur in the ground truth or in the prediction, the mean of
            PiCIE (https://github.com/janghyuncho/PiCIE) and STEGO (https://github.com/mhamilton723/STEGO);
            None without any scored pixel.
        miou_all: mean IoU over all classes, a class that occurs nowhere counting 0, as in the released
            script of the paper; never above `miou`; None without any scored pixel.
        accuracy: pixel accuracy over the scored pixels; None without any.
        pixels: scored pixels.
        unmatched_pixels: scored pixels in clusters without a class. They are errors: they stay in the
            denominator of the accuracy and are false negatives of their class (STEGO leaves them out).
        matching: class of each cluster, -1 for none.
        classes: scores in the order of the classes.
    """

    model_config = ConfigDict(frozen=True)

    matched_by: MatchingKind
    miou: float | None
    miou_all: float | None
    accuracy: float | None
    pixels: int
    unmatched_pixels: int
    matching: tuple[int, ...]
    classes: tuple[ClassScore, ...]


def score(counts: np.ndarray, matching: np.ndarray, classes: Sequence[str], matched_by: MatchingKind) -> Scores:
    """Score a confusion matrix under a matching of clusters to classes.

    Args:
        counts: integer (n_clusters, n_classes), pixels.
        matching: integer (n_clusters,), class of each cluster or -1.
        classes: n_classes names.
        matched_by: how `matching` was made, for the record.

    Raises:
        ConfigError: the names or the matching do not fit the matrix.
        DataError: `counts` is no confusion matrix.
    """
    n_clusters, n_classes = check_confusion(counts).shape
    if len(classes) != n_classes:
        raise ConfigError(f"{len(classes)} class names for {n_classes} classes; name each class once")
    if matching.shape != (n_clusters,) or matching.min() < -1 or matching.max() >= n_classes:
        raise ConfigError(
            f"the matching {matching.tolist()} does not give each of {n_clusters} clusters a class of "
            f"0..{n_classes - 1} or -1; make it from the same confusion matrix"
        )
    matched = matching >= 0
    by_class = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(by_class, matching[matched], counts[matched].astype(np.int64))
    true_positives = np.diagonal(by_class)
    predicted = by_class.sum(axis=1)
    # Over all clusters: pixels of unmatched ones are no true positives, hence false negatives.
    truth = counts.sum(axis=0, dtype=np.int64)
    union = predicted + truth - true_positives
    total = int(truth.sum())
    iou = [_ratio(hits, pixels) for hits, pixels in zip(true_positives, union, strict=True)]
    occurring = [value for value in iou if value is not None]
    return Scores(
        matched_by=matched_by,
        miou=_ratio(sum(occurring), len(occurring)),
        miou_all=_ratio(sum(occurring), n_classes) if total else None,
        accuracy=_ratio(true_positives.sum(), total),
        pixels=total,
        unmatched_pixels=int(counts[~matched].sum()),
        matching=tuple(matching.tolist()),
        classes=tuple(
            ClassScore(
                name=name,
                iou=iou[c],
                precision=_ratio(true_positives[c], predicted[c]),
                recall=_ratio(true_positives[c], truth[c]),
                pixels=int(truth[c]),
                predicted=int(predicted[c]),
                present=bool(truth[c] > 0),
            )
            for c, name in enumerate(classes)
        ),
    )


def summarise(runs: Sequence[Scores]) -> dict[str, Any]:
    """Mean and sample standard deviation of the scores of several K-means seeds, so that no seed is picked.

    Args:
        runs: scores under one matching and over one set of classes, one for each seed.

    Returns:
        A dict for JSON: `matched_by`, `runs` (their number), `miou`, `miou_all`, `accuracy` and
        `classes` (name to IoU). Each of those is a dict of `mean`, `sd` (divisor n - 1; None with fewer
        than two values) and `values` (one for each run, in order). An undefined score is None among the values and
        is left out of the mean; `mean` is None if no run has the score.

    Raises:
        ConfigError: there is no run, or the runs differ in matching or classes.
    """
    if not runs:
        raise ConfigError("there are no scores to summarise; run at least one seed")
    first = runs[0]
    names = [entry.name for entry in first.classes]
    for index, run in enumerate(runs):
        if run.matched_by != first.matched_by or [entry.name for entry in run.classes] != names:
            raise ConfigError(
                f"scores {index} ({run.matched_by}, {len(run.classes)} classes) and 0 ({first.matched_by}, "
                f"{len(names)} classes) differ in matching or classes; summarise each kind separately"
            )
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the class name {double!r} occurs more than once; give each class a different name")
    return {
        "matched_by": first.matched_by,
        "runs": len(runs),
        **{name: _mean_and_sd([getattr(run, name) for run in runs]) for name in ("miou", "miou_all", "accuracy")},
        "classes": {name: _mean_and_sd([run.classes[c].iou for run in runs]) for c, name in enumerate(names)},
    }


def _mean_and_sd(values: list[float | None]) -> dict[str, Any]:
    defined = [value for value in values if value is not None]
    mean = math.fsum(defined) / len(defined) if defined else None
    sd = None
    if mean is not None and len(defined) > 1:
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in defined) / (len(defined) - 1))
    return {"mean": mean, "sd": sd, "values": values}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
