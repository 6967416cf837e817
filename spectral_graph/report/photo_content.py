"""What a report shows of single photos, as plain records; part of `spectral_graph.report.content`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PathwayView:
    """What one pathway found in one photo.

    Attributes:
        eigenvectors: (h, w, C) float32 on the bank's grid, leading column first; C = 0 for a method that has none.
        regions: (h, w) integer cluster ids, -1 for none; None where no regions were made.
        matched: the class id that Hungarian matching gives each cluster, -1 for none; None where there are no labels.
    """

    eigenvectors: np.ndarray
    regions: np.ndarray | None = None
    matched: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class GalleryItem:
    """One photo of the gallery.

    Attributes:
        id: the image's id in its data set.
        photo: (H, W, 3) uint8, as the network saw it.
        ground_truth: (H, W) int16 class ids, -1 ignored; None where the image has no label.
        pathways: pathway name -> what it found.
    """

    id: str
    photo: np.ndarray
    ground_truth: np.ndarray | None
    pathways: Mapping[str, PathwayView]


@dataclass(frozen=True)
class PhotoLicence:
    """The licence of one photo that the page shows.

    Attributes:
        image: the image's id.
        licence: its name.
        url: where the photo comes from, or the licence's page; empty where unknown.
    """

    image: str
    licence: str
    url: str = ""
