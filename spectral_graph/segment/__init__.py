"""Regions: K-means over the eigenvectors of all images, and label maps at the images' resolution."""

from spectral_graph.segment.kmeans import KMeansModel, assign, fit_kmeans
from spectral_graph.segment.upsample import upsample_labels

__all__ = ["KMeansModel", "assign", "fit_kmeans", "upsample_labels"]
