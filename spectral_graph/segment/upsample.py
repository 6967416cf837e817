"""Cluster maps at the grid's resolution to label maps at the image's."""

from __future__ import annotations

import numpy as np

from spectral_graph.errors import ConfigError


def upsample_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map by nearest neighbour: a pixel takes the cell that its centre falls in.

    Both maps cover the same window. The centre of pixel y of H is at (2y + 1) / 2H of the side and lies in
    cell floor((2y + 1) h / 2H), computed in integers; a centre on the line between two cells takes the
    lower right one. This is "nearest-exact" of torch.nn.functional.interpolate, without its rounding.

    Args:
        labels: (h, w), any dtype.
        size: (H, W) in pixels; may be smaller than (h, w), and need not be a multiple.

    Returns:
        (H, W), dtype of `labels`.

    Raises:
        ConfigError: `labels` is not a non-empty map, or `size` is not positive.
    """
    if labels.ndim != 2 or labels.size == 0:
        raise ConfigError(f"a label map must have the shape (h, w), got {labels.shape}; give one image at a time")
    if min(size) < 1:
        raise ConfigError(f"cannot resize a label map to {size[0]} x {size[1]} pixels; give a positive size")
    rows, columns = (_cells(side, pixels) for side, pixels in zip(labels.shape, size, strict=True))
    return labels[rows[:, None], columns[None, :]]


def _cells(side: int, pixels: int) -> np.ndarray:
    return (2 * np.arange(pixels, dtype=np.int64) + 1) * side // (2 * pixels)
