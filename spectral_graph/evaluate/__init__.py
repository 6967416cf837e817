"""Scores: mIoU and pixel accuracy under greedy and Hungarian matching, and coordinate regression."""

from spectral_graph.evaluate.confusion import accumulate, confusion, greedy, hungarian
from spectral_graph.evaluate.coordinates import CoordinateRegression, coordinate_regression
from spectral_graph.evaluate.scores import ClassScore, Scores, score, summarise
from spectral_graph.evaluate.segmentation import SegmentationResult, cluster_maps, evaluate_labels

__all__ = [
    "ClassScore",
    "CoordinateRegression",
    "Scores",
    "SegmentationResult",
    "accumulate",
    "cluster_maps",
    "confusion",
    "coordinate_regression",
    "evaluate_labels",
    "greedy",
    "hungarian",
    "score",
    "summarise",
]
