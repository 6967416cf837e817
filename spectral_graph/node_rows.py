"""Rows of nodes: one vector a node, read in parts from an array or a store, and views of them.

    ArrayRows(array)                   an ndarray, memory map, Zarr or HDF5 array
    FeatureStore.rows, .final_rows     q, k, v or the final features of some images (StoredRows)
    StoredRows(bank.read, ...)         the eigenvectors of a bank
    FirstColumns, WeightedColumns, NormalisedRows     views, which compute when they are read

The neighbour search takes any `NodeRows`; K-means and the scores take `ImageRows`, with equally many nodes an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from spectral_graph.errors import ConfigError, FeatureError, FormatError
from spectral_graph.io.pages import drop_pages

SCATTERED_ROWS = 512
"""Rows of a memory map read at a time where they are not contiguous."""

Which = slice | np.ndarray
"""A slice with step 1, or an ascending array of row numbers."""


class NodeRows(Protocol):
    """A matrix that can be read in parts; a row is a node, and the nodes of an image are contiguous.

    Attributes:
        shape: (nodes, d).
        dtype: the precision in which the rows are kept, float16 or float32.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def read(self, which: Which) -> np.ndarray:
        """Return some rows (n, d) of `dtype`, which may share memory with the source."""


class ImageRows(ABC):
    """Base of `NodeRows` whose images have equally many nodes, row-major within the grid of an image.

    Args:
        shape: (nodes, d).
        nodes_per_image: nodes of one image.
        dtype: of the rows.
    """

    def __init__(self, shape: tuple[int, int], nodes_per_image: int, dtype: Any = np.float32) -> None:
        self.shape, self.nodes_per_image, self.dtype = shape, nodes_per_image, np.dtype(dtype)

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.shape[0] // max(1, self.nodes_per_image)

    @property
    def channels(self) -> int:
        """Length of a row."""
        return self.shape[1]

    @abstractmethod
    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`."""


class ArrayRows(ImageRows):
    """The rows of an array.

    Args:
        array: (nodes, d), each node a separate image, or (images, nodes, d): an ndarray or a memory map; with two
            dimensions also a Zarr or HDF5 array.
        dtype: of the rows; by default float16 for float16 and float32 for other floating types.

    Raises:
        FeatureError: the array has another number of dimensions or, without `dtype`, another type.
    """

    def __init__(self, array: Any, dtype: Any = None) -> None:
        shape = tuple(int(size) for size in array.shape)
        if len(shape) not in (2, 3) or (dtype is None and not np.issubdtype(array.dtype, np.floating)):
            raise FeatureError(
                "features must be a floating array (nodes, d) or (images, nodes, d), "
                f"got shape {shape} of {array.dtype}"
            )
        images, nodes, channels = shape if len(shape) == 3 else (shape[0], 1, shape[1])
        self._array = array.reshape(images * nodes, channels) if len(shape) == 3 else array
        if dtype is None:
            dtype = np.float16 if array.dtype == np.float16 else np.float32
        super().__init__((images * nodes, channels), nodes, dtype)

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`.

        Raises:
            FormatError: a chunk of a Zarr array is damaged.
        """
        # A float64 value beyond float32 becomes infinite; who reads the rows refuses that by its place.
        with np.errstate(over="ignore"):
            if isinstance(self._array, np.memmap):
                return self._read_map(which)
            part = np.ascontiguousarray(self._read(which), self.dtype)
        return part if part.flags.writeable else part.copy()  # torch takes no read-only memory

    def _read(self, which: Which) -> np.ndarray:
        if isinstance(self._array, np.ndarray):
            return self._array[which]
        scattered = isinstance(which, np.ndarray) and hasattr(self._array, "oindex")
        try:
            return np.asarray(self._array.oindex[which] if scattered else self._array[which])
        except (ValueError, OSError) as error:
            where = getattr(self._array, "store_path", self._array)
            raise FormatError(f"{where}: damaged chunk in the rows {_span(which)} ({error}); write it again") from None

    def _read_map(self, which: Which) -> np.ndarray:
        if isinstance(which, slice):
            part = np.array(self._array[which], self.dtype)
            drop_pages(self._array)
            return part
        # A few at a time: every row that is read maps the pages around it as well.
        part = np.empty((len(which), self.shape[1]), self.dtype)
        for begin in range(0, len(which), SCATTERED_ROWS):
            part[begin : begin + SCATTERED_ROWS] = self._array[which[begin : begin + SCATTERED_ROWS]]
            drop_pages(self._array)
        return part


class StoredRows(ImageRows):
    """Rows that a store on disk returns image by image.

    Args:
        read_images: returns the rows (images * nodes_per_image, d) of an ascending array of images.
        shape: (nodes, d).
        nodes_per_image: nodes of one image.
        dtype: of the rows.
    """

    def __init__(
        self,
        read_images: Callable[[np.ndarray], np.ndarray],
        shape: tuple[int, int],
        nodes_per_image: int,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(shape, nodes_per_image, dtype)
        self._read_images = read_images

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`. Errors are those of the store."""
        nodes = self.nodes_per_image
        if isinstance(which, slice):
            start, stop, _ = which.indices(self.shape[0])
            if stop <= start:
                return np.empty((0, self.shape[1]), self.dtype)
            first, last = start // nodes, (stop - 1) // nodes
            return self._read_images(np.arange(first, last + 1))[start - first * nodes : stop - first * nodes]
        out = np.empty((len(which), self.shape[1]), self.dtype)
        images, starts = np.unique(which // nodes, return_index=True)
        for image, begin, end in zip(images, starts, np.append(starts, len(which))[1:], strict=True):
            out[begin:end] = self._read_images(np.array([image]))[which[begin:end] % nodes]
        return out


class FirstColumns(ImageRows):
    """The first `k` columns of another source, such as the leading eigenvectors.

    Raises:
        ConfigError: k is not 1 to the number of channels.
    """

    def __init__(self, source: ImageRows, k: int) -> None:
        super().__init__((source.shape[0], k), source.nodes_per_image)
        if not 1 <= k <= source.channels:
            raise ConfigError(
                f"cannot take the first {k} columns of rows with {source.channels} channels; "
                f"choose 1 to {source.channels}"
            )
        self._source = source

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`."""
        return np.ascontiguousarray(self._source.read(which)[:, : self.channels], np.float32)


class NormalisedRows(ImageRows):
    """Rows of another source divided by their Euclidean norm; a row of zeros stays zero."""

    def __init__(self, source: ImageRows) -> None:
        super().__init__(source.shape, source.nodes_per_image)
        self._source = source

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`."""
        # float64, because the square of a float32 value can leave the float32 range.
        rows = self._source.read(which).astype(np.float64)
        norms = np.sqrt(np.sum(rows * rows, axis=1, keepdims=True))
        # A row with NaN or infinity stays as it is, so that `read_chunks` names the channel that holds it.
        rows /= np.where(np.isfinite(norms) & (norms > 0.0), norms, 1.0)
        return rows.astype(np.float32)


class WeightedColumns(ImageRows):
    """Columns of another source multiplied by one weight each.

    Args:
        source: the rows.
        weights: (channels,), finite; singular values or eigenvalues, for example.

    Raises:
        ConfigError: the weights have another shape, or one is not finite.
    """

    def __init__(self, source: ImageRows, weights: np.ndarray) -> None:
        super().__init__(source.shape, source.nodes_per_image)
        self._source, self._weights = source, np.asarray(weights, dtype=np.float64)
        if self._weights.shape != (source.channels,):
            raise ConfigError(
                f"weights have the shape {self._weights.shape}, the rows have {source.channels} channels; "
                "give one weight for each channel"
            )
        if not np.isfinite(self._weights).all():
            worst = int(np.flatnonzero(~np.isfinite(self._weights))[0])
            raise ConfigError(f"weight {worst} is {self._weights[worst]}; give finite weights")

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (self._source.read(which) * self._weights).astype(np.float32)


def held_in_memory(rows: NodeRows, most_bytes: int) -> NodeRows:
    """Return the rows in memory if they fit into `most_bytes` and are not an array already."""
    if isinstance(rows, ArrayRows) or rows.shape[0] * rows.shape[1] * rows.dtype.itemsize > most_bytes:
        return rows
    return ArrayRows(rows.read(slice(0, rows.shape[0])))


def _span(which: Which) -> str:
    if isinstance(which, slice):
        return f"{which.start} to {which.stop}"
    return f"{which[0]} to {which[-1] + 1}" if len(which) else "none"
