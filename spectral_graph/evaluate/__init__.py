"""Scores: segmentation against labels under two matchings, and coordinate regression."""

from spectral_graph.evaluate.confusion import accumulate, confusion
from spectral_graph.evaluate.coordinates import CoordinateRegression, coordinate_regression
from spectral_graph.evaluate.matching import greedy, hungarian
from spectral_graph.evaluate.scores import ClassScore, Scores, score
from spectral_graph.evaluate.segmentation import SegmentationResult, cluster_maps, evaluate_labels
from spectral_graph.evaluate.summary import summarise

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
