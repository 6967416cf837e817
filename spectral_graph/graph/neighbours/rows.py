"""Where a search takes its vectors from: arrays, memory maps, Zarr arrays, a layer of the feature store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from spectral_graph.errors import FeatureError, FormatError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.neighbours.pages import drop_pages

SCATTERED_ROWS = 512
"""Rows of a memory map read at a time where they do not follow each other."""


class Rows(Protocol):
    """A matrix (nodes, d) that can be read in parts; a node is a row, the nodes of an image follow each other."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return (nodes, d)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return float16 or float32, the precision in which the rows are kept."""

    def read(self, which: slice | np.ndarray) -> np.ndarray:
        """Return the rows of a slice with step 1, or of an ascending array of row numbers, as (n, d) of `dtype`."""


class ArrayRows:
    """The rows of an ndarray, a memory map or a Zarr array of two dimensions.

    Args:
        array: (nodes, d), floating; float16 is kept, other types are converted to float32.

    Raises:
        FeatureError: it has other dimensions or another type.
    """

    def __init__(self, array: Any) -> None:
        if len(array.shape) != 2 or not np.issubdtype(array.dtype, np.floating):
            raise FeatureError(
                f"features must be a floating matrix (nodes, d), got shape {tuple(array.shape)} of {array.dtype}"
            )
        self._array = array
        self.shape: tuple[int, int] = (int(array.shape[0]), int(array.shape[1]))
        self.dtype: np.dtype[Any] = np.dtype(np.float16 if array.dtype == np.float16 else np.float32)

    def read(self, which: slice | np.ndarray) -> np.ndarray:
        """Return rows; see `Rows`.

        Raises:
            FormatError: a chunk of a Zarr array is damaged.
        """
        if isinstance(self._array, np.ndarray):
            if isinstance(self._array, np.memmap):
                return self._read_map(which)
            return np.ascontiguousarray(self._array[which], self.dtype)
        try:
            part = self._array[which] if isinstance(which, slice) else self._array.oindex[which]
        except (ValueError, OSError) as error:
            where = getattr(self._array, "store_path", self._array)
            raise FormatError(f"{where}: damaged chunk in the rows {_span(which)} ({error}); write it again") from None
        return np.ascontiguousarray(part, self.dtype)

    def _read_map(self, which: slice | np.ndarray) -> np.ndarray:
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


class StoreRows:
    """The nodes of one layer's q, k or v in the feature store, image by image.

    Args:
        store: the feature store.
        layer: name of the layer.
        tensor: q, k or v.
        slots: the images, in the order of the nodes.
        own_grid: read a layer on its own grid, as float16. False: on the run's grid; a layer of a coarser grid is then
            resampled bilinearly to float32 rows, the same bits as `FeatureStore.read`.

    Raises:
        FormatError: the store does not hold the tensor.
    """

    def __init__(
        self, store: FeatureStore, layer: str, tensor: str, slots: Sequence[int], own_grid: bool = False
    ) -> None:
        self._store, self._layer, self._tensor = store, layer, tensor
        self._slots = np.asarray(slots, np.int64)
        self._map = None if own_grid else store.map_to_grid(layer)
        self._array: Any = store.tensor(layer, tensor)
        self._nodes = int(self._array.shape[1]) if self._map is None else int(self._map.shape[0])
        self.shape: tuple[int, int] = (len(self._slots) * self._nodes, int(self._array.shape[2]))
        self.dtype: np.dtype[Any] = np.dtype(np.float16 if self._map is None else np.float32)

    def read(self, which: slice | np.ndarray) -> np.ndarray:
        """Return rows; see `Rows`.

        Raises:
            FormatError: a chunk is damaged; the message names the layer and the image slot.
        """
        if isinstance(which, slice):
            start, stop, _ = which.indices(self.shape[0])
            if stop <= start:
                return np.empty((0, self.shape[1]), self.dtype)
            first, last = start // self._nodes, (stop - 1) // self._nodes
            part = self._images(self._slots[first : last + 1]).reshape(-1, self.shape[1])
            return part[start - first * self._nodes : stop - first * self._nodes]
        out = np.empty((len(which), self.shape[1]), self.dtype)
        image = which // self._nodes
        starts = np.flatnonzero(np.r_[True, image[1:] != image[:-1]]) if len(which) else np.empty(0, np.int64)
        for begin, end in zip(starts, np.r_[starts[1:], len(which)], strict=True):
            out[begin:end] = self._images(self._slots[image[begin] : image[begin] + 1])[
                0, which[begin:end] % self._nodes
            ]
        return out

    def _images(self, slots: np.ndarray) -> np.ndarray:
        found = self._stored(slots)
        if self._map is None:
            return found
        return np.stack([self._map @ image for image in found.astype(np.float32)])

    def _stored(self, slots: np.ndarray) -> np.ndarray:
        """Return (images, nodes, d) float16 on the layer's own grid."""
        try:
            if np.array_equal(slots, np.arange(slots[0], slots[0] + len(slots))):
                found = np.asarray(self._array[int(slots[0]) : int(slots[0]) + len(slots)])
            else:
                found = np.asarray(self._array.oindex[slots])
        except (ValueError, OSError):
            found = None
        if found is None or bool(np.isnan(found[:, 0, 0]).any()):
            # The store's own reader goes image by image and names the one that is damaged or missing.
            return self._store.read_own(self._layer, self._tensor, [int(slot) for slot in slots]).astype(np.float16)
        return found


def hold(rows: Rows, most_bytes: int) -> Rows:
    """Return the rows in memory if they fit into `most_bytes` and are not an array already."""
    if isinstance(rows, ArrayRows) or rows.shape[0] * rows.shape[1] * rows.dtype.itemsize > most_bytes:
        return rows
    return ArrayRows(rows.read(slice(0, rows.shape[0])))


def _span(which: slice | np.ndarray) -> str:
    if isinstance(which, slice):
        return f"{which.start} to {which.stop}"
    return f"{which[0]} to {which[-1] + 1}" if len(which) else "none"
