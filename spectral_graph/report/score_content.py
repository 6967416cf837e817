"""The scores that a report shows, as plain records; part of `spectral_graph.report.content`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MeanSd:
    """A score over several K-means seeds.

    Attributes:
        mean: the mean over the seeds.
        sd: the standard deviation over the seeds; None where there is one seed only.
    """

    mean: float
    sd: float | None = None


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one method on the whole data set. Shares are in 0..1; the page shows per cent.

    Attributes:
        method: e.g. ``V-V``, ``Q-K``, ``K-means on final features``.
        clusters: K of K-means.
        seeds: number of K-means seeds behind each mean.
        images: images scored.
        miou_hungarian: mean IoU with each cluster matched to one class.
        miou_greedy: mean IoU with each cluster matched to the class it overlaps most.
        accuracy_hungarian: share of labelled pixels that are right, Hungarian matching.
        accuracy_greedy: the same, greedy matching.
        coordinate_mse: mean squared error of a linear read-out of the grid position, in the unit
            `ReportContent.coordinate_unit`; None where it was not measured.
    """

    method: str
    clusters: int
    seeds: int
    images: int
    miou_hungarian: MeanSd
    miou_greedy: MeanSd
    accuracy_hungarian: MeanSd
    accuracy_greedy: MeanSd
    coordinate_mse: float | None = None


@dataclass(frozen=True)
class ClassScore:
    """The IoU of one class under one method, in 0..1; None where the class has no pixel to score.

    Attributes:
        hungarian: IoU with Hungarian matching.
        greedy: IoU with greedy matching.
        pixels: labelled pixels of the class.
    """

    hungarian: float | None
    greedy: float | None
    pixels: int
