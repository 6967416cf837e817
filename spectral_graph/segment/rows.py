"""The rows that are clustered and scored, read image by image from wherever they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spectral_graph.errors import ConfigError, FeatureError

# Bytes of rows that one read may hold when the caller names no chunk: far below any memory limit, large
# enough that the cost of a read call does not show.
_READ_BYTES = 32 * 2**20


class RowSource(Protocol):
    """One row of features for each node of each image, in image order and row-major within an image's grid."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        ...

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image, h * w of its grid."""
        ...

    @property
    def channels(self) -> int:
        """Length of one row."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of the images start..stop (stop excluded), float32 ((stop - start) * nodes_per_image, channels)."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """Rows held in an array or a memory map.

    Attributes:
        values: (n_images, nodes_per_image, channels), any real dtype; read as float32.
    """

    values: np.ndarray

    def __post_init__(self) -> None:
        if self.values.ndim != 3:
            raise ConfigError(
                f"rows must have the shape (images, nodes, channels), got {self.values.shape}; reshape them first"
            )

    @property
    def n_images(self) -> int:
        """Number of images."""
        return int(self.values.shape[0])

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return int(self.values.shape[1])

    @property
    def channels(self) -> int:
        """Length of one row."""
        return int(self.values.shape[2])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of the images start..stop, a float32 copy that the caller may change."""
        # A float64 value beyond float32 becomes inf here, and read_chunks refuses that by name.
        with np.errstate(over="ignore"):
            return np.array(self.values[start:stop], dtype=np.float32).reshape(-1, self.channels)


@dataclass(frozen=True, eq=False)
class FirstColumns:
    """The first `k` columns of another source, such as the leading eigenvectors."""

    source: RowSource
    k: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.source.channels:
            raise ConfigError(
                f"cannot take the first {self.k} columns of rows with {self.source.channels} channels; "
                f"choose 1 to {self.source.channels}"
            )

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.source.n_images

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return self.source.nodes_per_image

    @property
    def channels(self) -> int:
        """Number of columns kept."""
        return self.k

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of the images start..stop, float32, cut to the first columns."""
        return np.ascontiguousarray(self.source.read(start, stop)[:, : self.k])


@dataclass(frozen=True, eq=False)
class NormalisedRows:
    """Rows of another source divided by their Euclidean norm; a row of zeros stays zero."""

    source: RowSource

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.source.n_images

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return self.source.nodes_per_image

    @property
    def channels(self) -> int:
        """Length of one row."""
        return self.source.channels

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of the images start..stop, float32, each of norm one or zero."""
        # float64, because the square of a float32 value can leave the float32 range.
        rows = self.source.read(start, stop).astype(np.float64)
        norms = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))
        # A row with NaN or infinity passes as it is, so that read_chunks names the channel that holds it.
        rows /= np.where(np.isfinite(norms) & (norms > 0.0), norms, 1.0)
        return rows.astype(np.float32)


@dataclass(frozen=True, eq=False)
class WeightedColumns:
    """Columns of another source multiplied by one weight each.

    Attributes:
        source: the rows.
        weights: (channels,), finite; singular or eigenvalues, for example.
    """

    source: RowSource
    weights: np.ndarray

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights)
        if weights.shape != (self.source.channels,):
            raise ConfigError(
                f"weights have the shape {weights.shape}, the rows have {self.source.channels} channels; "
                "give one weight for each channel"
            )
        if not np.isfinite(weights).all():
            worst = int(np.flatnonzero(~np.isfinite(weights))[0])
            raise ConfigError(f"weight {worst} is {weights[worst]}; give finite weights")

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.source.n_images

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return self.source.nodes_per_image

    @property
    def channels(self) -> int:
        """Length of one row."""
        return self.source.channels

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows of the images start..stop, float32, columns weighted."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (self.source.read(start, stop) * np.asarray(self.weights, dtype=np.float64)).astype(np.float32)


def read_chunks(source: RowSource, image_chunk: int | None = None) -> Iterator[tuple[int, int, np.ndarray]]:
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


def _checked_reads(source: RowSource, step: int) -> Iterator[tuple[int, int, np.ndarray]]:
    nodes = source.nodes_per_image
    for start in range(0, source.n_images, step):
        stop = min(start + step, source.n_images)
        rows = np.ascontiguousarray(source.read(start, stop), dtype=np.float32)
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
