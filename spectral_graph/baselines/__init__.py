"""Baselines that are scored by the same clustering and the same metrics as the eigenvectors."""

from spectral_graph.baselines.final_features import FinalFeatures, final_feature_rows

__all__ = ["FinalFeatures", "final_feature_rows"]
