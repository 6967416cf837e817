"""All rows of a source in order, a few images at a time, checked before they are clustered or scored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.node_rows import ImageRows

_READ_BYTES = 32 << 20
"""Rows that one read may hold without `image_chunk`: little memory, and large enough that the calls do not count."""


def read_chunks(source: ImageRows, image_chunk: int | None = None) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read all rows in order, a few images at a time, and refuse rows that cannot be clustered.

    Args:
        source: the rows.
        image_chunk: images in one read; None chooses as many as fit in 32 MiB (at least one).

    Returns:
        Iterator of (start, stop, rows): images start..stop and their float32 rows
        ((stop - start) * nodes_per_image, channels), C-contiguous.

    Raises:
        ConfigError: image_chunk is below 1, or the source is empty.
        FeatureError: a read has the wrong shape, or holds NaN or infinity; the message names the first place.
    """
    if source.n_images < 1 or source.nodes_per_image < 1 or source.channels < 1:
        raise ConfigError(
            f"there are no rows to read: {source.n_images} images of {source.nodes_per_image} nodes with "
            f"{source.channels} channels; give at least one of each"
        )
    if image_chunk is not None and image_chunk < 1:
        raise ConfigError(f"image_chunk is {image_chunk}; read at least 1 image at a time")
    image_bytes = 4 * source.nodes_per_image * source.channels
    step = image_chunk or max(1, _READ_BYTES // image_bytes)
    return _checked_reads(source, step)


def _checked_reads(source: ImageRows, step: int) -> Iterator[tuple[int, int, np.ndarray]]:
    nodes = source.nodes_per_image
    for start in range(0, source.n_images, step):
        stop = min(start + step, source.n_images)
        rows = np.ascontiguousarray(source.read(slice(start * nodes, stop * nodes)), dtype=np.float32)
        expected = ((stop - start) * nodes, source.channels)
        if rows.shape != expected:
            raise FeatureError(
                f"images {start}..{stop} gave rows of the shape {rows.shape} instead of {expected}; "
                "the stored features do not match their description, extract them again"
            )
        if not np.isfinite(rows).all():
            row, channel = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
            raise FeatureError(
                f"image {start + row // nodes}, node {row % nodes}, channel {channel} is {rows[row, channel]}; "
                "leave this image out or compute its features again"
            )
        yield start, stop, rows
