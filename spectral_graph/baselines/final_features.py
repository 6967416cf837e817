"""The plain baseline: K-means on the final features of a model, no graph in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_graph.features.store import FeatureStore
from spectral_graph.segment.rows import NormalisedRows, RowSource


@dataclass(frozen=True)
class FinalFeatures:
    """The final features of some images as rows.

    Attributes:
        store: where they lie.
        slots: the places of the images in it.
    """

    store: FeatureStore
    slots: list[int]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.slots)

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return self.store.nodes

    @property
    def channels(self) -> int:
        """Width of the final features."""
        return self.store.final_width

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows of images start..stop, float32."""
        return self.store.read_final(self.slots[start:stop]).reshape(-1, self.channels)


def final_feature_rows(source: RowSource, normalise: bool) -> RowSource:
    """The rows that the baseline clusters, by the same K-means as the eigenvectors.

    Args:
        source: final features, one row a node.
        normalise: divide each row by its Euclidean norm, so that distances are those of the cosine.

    Returns:
        The rows as they are clustered.
    """
    return NormalisedRows(source) if normalise else source
