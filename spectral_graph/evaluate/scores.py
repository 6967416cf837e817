"""Segmentation scores from one data-set-wide confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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
        precision: share of the pixels predicted as this class that are right; None if none is predicted.
        recall: share of the pixels of this class that are found; None if it has none.
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
        accuracy: share of the scored pixels that are right; None without any.
        pixels: scored pixels.
        unmatched_pixels: those in clusters that have no class. They are errors: they stay in the
            denominator of the accuracy and are false negatives of their class (STEGO leaves them out).
        matching: class of each cluster, -1 for none.
        classes: one score a class, in the order of the classes.
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
    """Score a confusion matrix once its clusters have classes.

    Args:
        counts: integer (n_clusters, n_classes), pixels.
        matching: integer (n_clusters,), class of each cluster or -1.
        classes: n_classes names.
        matched_by: how `matching` was made, for the record.

    Returns:
        The scores.

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
    right = np.diagonal(by_class)
    predicted = by_class.sum(axis=1)
    # From all clusters, also the unmatched: their pixels are missing from `right`, hence false negatives.
    truth = counts.sum(axis=0, dtype=np.int64)
    union = predicted + truth - right
    total = int(truth.sum())
    iou = [_ratio(r, u) for r, u in zip(right, union, strict=True)]
    occurring = [value for value in iou if value is not None]
    return Scores(
        matched_by=matched_by,
        miou=_ratio(sum(occurring), len(occurring)),
        miou_all=_ratio(sum(occurring), n_classes) if total else None,
        accuracy=_ratio(right.sum(), total),
        pixels=total,
        unmatched_pixels=int(counts[~matched].sum()),
        matching=tuple(int(c) for c in matching),
        classes=tuple(
            ClassScore(
                name=name,
                iou=iou[c],
                precision=_ratio(right[c], predicted[c]),
                recall=_ratio(right[c], truth[c]),
                pixels=int(truth[c]),
                predicted=int(predicted[c]),
                present=bool(truth[c] > 0),
            )
            for c, name in enumerate(classes)
        ),
    )


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
