"""The pictures of one photo."""

from __future__ import annotations

import numpy as np
from PIL import Image

from spectral_graph.per_image.analysis import Analysis
from spectral_graph.report.pictures import colour_table, common_limits, eigenvector_picture, overlay, triples

LONGEST = 1024
"""Pixels of the longest side of a picture."""

_GAP = 6


def shown_photo(photo: Image.Image) -> np.ndarray:
    """Return the photo as pictures show it, (H, W, 3) uint8, at most LONGEST pixels long."""
    smaller = photo.copy()
    smaller.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(smaller)


def regions_picture(photo: np.ndarray, analysis: Analysis) -> np.ndarray:
    """Return the regions laid over the photo, (H, W, 3) uint8."""
    return overlay(photo, analysis.regions.labels.reshape(analysis.grid), colour_table(analysis.regions.k))


def masks_picture(photo: np.ndarray, analysis: Analysis) -> np.ndarray:
    """Return the masks laid over the photo, (H, W, 3) uint8: small ones over large ones, grey where there is none."""
    masks = analysis.masks.masks
    ids = np.full(analysis.grid, -1)
    for index in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        ids[masks[index]] = index
    return overlay(photo, ids, colour_table(max(len(masks), 1)))


def eigenvectors_picture(analysis: Analysis, size: tuple[int, int]) -> np.ndarray:
    """Return the eigenvectors but the first as colours, three at a time, side by side.

    The first is left out, as by the authors' script: it is nearly the same everywhere.

    Args:
        analysis: of the photo.
        size: (H, W) of one of the pictures.

    Returns:
        (H, W', 3) uint8, with white gaps.
    """
    vectors = analysis.solution.vectors[:, 1:].reshape(*analysis.grid, -1)
    limits = common_limits([vectors])
    panels: list[np.ndarray] = []
    for channels in triples(vectors.shape[-1]):
        if panels:
            panels.append(np.full((size[0], _GAP, 3), 255, np.uint8))
        panels.append(eigenvector_picture(vectors, channels, limits, size))
    return np.concatenate(panels, axis=1)
