"""Arrays as pictures: eigenvectors as colours, regions and labels over the photo; a table of distinct colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor

Limits = tuple[np.ndarray, np.ndarray]

MAX_SHOWN = 12
"""Eigenvectors shown at most; three make one picture."""

SERIES = ("#3f83c8", "#d9762b", "#43a06f", "#a070cc", "#c25a72", "#8c8c3c", "#4aa3ad", "#9a7b5f")
"""Colours of curves and bars, legible on a white and on a dark page."""

# The first colours are chosen by eye so that small class lists look calm; the rest follow by distance.
_FIRST = ("#4c86c6", "#e08a3c", "#4fa362", "#c9504f", "#9270c2", "#e0c24a", "#4db3b0", "#d977b0", "#8c6a50", "#93c47d")

_OVERLAY = 0.66
# Less contrast in the photo, so that a colour is nearly the same in its dark and its bright parts.
_CONTRAST, _BASE = 0.45, 95
_PERCENTILES = (2.0, 98.0)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB to OKLab, in which equal distances look about equally different.

    Source: B. Ottosson, "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/.

    Args:
        rgb: (..., 3) in 0..1.

    Returns:
        (..., 3): lightness 0..1, and the two colour axes.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_lms.T) @ to_lab.T


def colour_table(count: int) -> np.ndarray:
    """Return `count` colours that are easy to tell apart: (count, 3) uint8 sRGB; beyond 400 they repeat.

    The table of a smaller count is the beginning of a larger one, so a class keeps its colour from run to run. Each
    colour after the first ten is the candidate farthest from all before it in OKLab.
    """
    table = _table(max(min(count, 400), 1))
    return table[np.arange(count) % len(table)]


@lru_cache(maxsize=16)
def _table(count: int) -> np.ndarray:
    first = np.array([ImageColor.getrgb(code) for code in _FIRST], dtype=np.uint8)
    axis = np.linspace(0, 255, 18).round()
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    lab = oklab(grid / 255)
    # Near-black and near-white look like borders, and grey like unlabelled ground.
    usable = (lab[:, 0] > 0.36) & (lab[:, 0] < 0.93) & (np.hypot(lab[:, 1], lab[:, 2]) > 0.045)
    grid, lab = grid[usable], lab[usable]
    chosen = [*first[:count]]
    distance = np.linalg.norm(lab[:, None] - oklab(first / 255)[None], axis=-1).min(axis=1)
    # A page full of neon colours is tiring: the first forty are the muted ones.
    muted = np.hypot(lab[:, 1], lab[:, 2]) < 0.17
    while len(chosen) < count:
        index = int(np.where(muted, distance, 0).argmax() if len(chosen) < 40 else distance.argmax())
        chosen.append(grid[index])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[index], axis=-1))
    table = np.stack(chosen)
    table.flags.writeable = False
    return table


def triples(channels: int) -> list[tuple[int, ...]]:
    """Return the eigenvectors of each picture: (0, 1, 2), (3, 4, 5), ... as far as present, `MAX_SHOWN` at most."""
    shown = range(min(channels, MAX_SHOWN))
    return [tuple(shown[start : start + 3]) for start in range(0, len(shown), 3)]


def common_limits(eigenvectors: Iterable[np.ndarray]) -> Limits:
    """Return the values shown darkest and brightest in each channel, common to all images.

    They are the 2nd and 98th percentiles over all nodes of all images; where these coincide although the channel
    varies (an eigenvector that lives on a few nodes), the smallest and largest value.

    Args:
        eigenvectors: (h, w, C) each, with one C. Values that are not finite are left out.

    Returns:
        low and high, each (C,) float64.
    """
    views = list(eigenvectors)
    if not views or not views[0].shape[-1]:
        return np.zeros(0), np.zeros(0)
    rows = np.concatenate([view.reshape(-1, view.shape[-1]) for view in views]).astype(np.float64)
    rows[~np.isfinite(rows)] = np.nan
    rows[:, np.isnan(rows).all(axis=0)] = 0.0
    low, high = np.nanpercentile(rows, _PERCENTILES, axis=0)
    collapsed = _flat(low, high)
    return np.where(collapsed, np.nanmin(rows, axis=0), low), np.where(collapsed, np.nanmax(rows, axis=0), high)


def eigenvector_picture(
    eigenvectors: np.ndarray, channels: Sequence[int], limits: Limits, size: tuple[int, int]
) -> np.ndarray:
    """Show one to three eigenvectors as red, green and blue, enlarged bilinearly.

    A value at the low limit is dark and at the high limit bright in its colour; a channel that does not vary, and a
    value that is not finite, is mid-grey. One eigenvector alone is shown in grey.

    Args:
        eigenvectors: (h, w, C).
        channels: one to three columns.
        limits: low and high, each (C,).
        size: (H, W) of the picture.

    Returns:
        (H, W, 3) uint8.
    """
    chosen = list(channels)
    low, high = (np.asarray(limit, dtype=np.float64)[chosen] for limit in limits)
    values = eigenvectors[..., chosen].astype(np.float64)
    flat = _flat(low, high)
    scaled = (values - low) / np.where(flat, 1.0, high - low)
    scaled = np.where(flat | ~np.isfinite(values), 0.5, np.clip(scaled, 0.0, 1.0))
    planes = [_resize(scaled[..., i], size, Image.Resampling.BILINEAR) for i in range(len(chosen))]
    if len(planes) == 1:
        planes *= 3
    elif len(planes) == 2:
        planes.append(np.full(size, 0.5))
    return (np.stack(planes, axis=-1) * 255).round().astype(np.uint8)


def cluster_colours(clusters: int, matched: Sequence[int] | None, classes: int) -> np.ndarray:
    """Return the colour of each cluster: that of its matched class, or one that no class has.

    Args:
        clusters: number of clusters.
        matched: the class of each cluster, -1 for none; None where there are no labels.
        classes: number of classes; their colours are the first of the table.

    Returns:
        (clusters, 3) uint8.
    """
    ids = np.full(clusters, -1)
    if matched is not None:
        known = np.asarray(matched, dtype=np.int64)[:clusters]
        ids[: len(known)] = np.where((known >= 0) & (known < classes), known, -1)
    free = ids < 0
    ids[free] = classes + np.arange(int(free.sum()))
    return colour_table(classes + clusters)[ids]


def overlay(photo: np.ndarray, ids: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Lay regions over a photo: their colours over its grey version, with white borders.

    Args:
        photo: (H, W, 3) uint8.
        ids: (h, w) integers, rows of `colours`; what is negative or beyond stays grey. Enlarged by nearest neighbour.
        colours: (n, 3) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    size = (photo.shape[0], photo.shape[1])
    ids = _resize(ids, size, Image.Resampling.NEAREST).astype(np.int64)
    grey = photo.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) * _CONTRAST + _BASE
    picture = np.repeat(grey[..., None], 3, axis=-1)
    named = (ids >= 0) & (ids < len(colours))
    picture[named] = (1 - _OVERLAY) * picture[named] + _OVERLAY * colours[ids[named]]
    picture[borders(ids, max(1, round(min(size) / 250)))] = 245
    return picture.round().astype(np.uint8)


def swatch(colour: np.ndarray) -> str:
    """Return how `overlay` shows a (3,) uint8 colour on a photo of middle brightness, as ``#rrggbb``."""
    shown = (1 - _OVERLAY) * (_CONTRAST * 128 + _BASE) + _OVERLAY * colour
    return "#" + shown.round().astype(np.uint8).tobytes().hex()


def borders(ids: np.ndarray, width: int = 1) -> np.ndarray:
    """Return where a pixel differs from its right or lower neighbour, thickened to `width` pixels: (H, W) bool."""
    edge = np.zeros(ids.shape, dtype=bool)
    edge[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    edge[:-1] |= ids[:-1] != ids[1:]
    thick = edge.copy()
    for shift in range(1, width):
        thick[shift:] |= edge[:-shift]
        thick[:, shift:] |= edge[:, :-shift]
    return thick


def agreement(ground_truth: np.ndarray, regions: np.ndarray, matched: Sequence[int]) -> float | None:
    """Return the share of the labelled pixels of one photo whose region is matched to their class; None without any.

    Args:
        ground_truth: (H, W) class ids, -1 ignored.
        regions: (h, w) cluster ids, enlarged by nearest neighbour.
        matched: the class of each cluster, -1 for none.
    """
    labelled = ground_truth >= 0
    if not labelled.any():
        return None
    size = (ground_truth.shape[0], ground_truth.shape[1])
    ids = _resize(regions, size, Image.Resampling.NEAREST).astype(np.int64)
    classes = np.append(np.asarray(matched, dtype=np.int64), -1)
    # The last entry stands for every id without a cluster.
    predicted = classes[np.where((ids >= 0) & (ids < len(matched)), ids, len(matched))]
    return float((predicted == ground_truth)[labelled].mean())


def _flat(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return which channels vary by no more than the rounding of float32."""
    return high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))


def _resize(plane: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    if plane.shape == size:
        return plane
    # Pillow's 32-bit float images hold cluster ids exactly up to 2^24.
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((size[1], size[0]), how))
