"""Oracle decoding (section 4.1 of the paper): each region of a photo gets the class that it overlaps most.

The paper does not say whether its mean is taken photo by photo or over the data set; both are given. Background counts
as a class, ignored pixels count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spectral_graph.evaluate.confusion import confusion, greedy
from spectral_graph.evaluate.scores import score
from spectral_graph.segment.upsample import upsample_labels


class Oracle:
    """mIoU of regions over the named classes, photo by photo."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._by_class = np.zeros((len(classes), len(classes)), np.int64)
        self._photos: list[float] = []

    def add(self, regions: np.ndarray, label: np.ndarray) -> float | None:
        """Return the mIoU of one photo, over the classes that occur in it or in its decoding; None without a label.

        Args:
            regions: (h, w) integers of at least 0 on the photo's grid; enlarged by nearest neighbour.
            label: (H, W) class ids, -1 ignored, showing the same window.
        """
        clusters = int(regions.max()) + 1
        counts = confusion(upsample_labels(regions, label.shape), label, clusters, len(self._classes))
        decoded = greedy(counts)
        found = score(counts, decoded, self._classes, "greedy").miou
        if found is not None:
            np.add.at(self._by_class, decoded, counts)
            self._photos.append(found)
        return found

    @property
    def per_photo(self) -> float | None:
        """Mean over photos of their mIoU; None without any."""
        return float(np.mean(self._photos)) if self._photos else None

    @property
    def whole(self) -> float | None:
        """The mIoU from one confusion matrix over all photos; None without any."""
        return score(self._by_class, np.arange(len(self._classes)), self._classes, "greedy").miou
