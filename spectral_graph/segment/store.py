"""Regions on disk: one cluster map an image, for every method and K-means seed.

    regions.zarr/<method>/labels     (seeds, images, nodes) uint16
    regions.zarr/<method>/centroids  (seeds, K, channels) float32
    attrs "spectral_graph": format, grid, seeds, K

A store is published whole at the end of the context of `create`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import zarr
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict
from zarr.codecs import Crc32cCodec

from spectral_graph.errors import FormatError
from spectral_graph.io.files import publish_folder
from spectral_graph.io.validation import validated
from spectral_graph.io.zarr_group import ATTRIBUTES, open_described

FORMAT = 1
_CURE = "recompute with `force=segment`"
IMAGES_PER_CHUNK = 64
_MISSING = 65_535
"""What Zarr gives for labels whose chunk is not there; no label is so large."""


class _Attributes(TypedDict):
    format: Literal[1]
    grid: Annotated[list[Annotated[int, Field(gt=0, lt=2**31)]], Field(min_length=2, max_length=2)]
    seeds: Annotated[list[int], Field(min_length=1)]
    clusters: Annotated[int, Field(gt=0, lt=2**31)]


_FORM = TypeAdapter(_Attributes)


class RegionStore:
    """Cluster maps on disk. Open with `create` or `open`."""

    def __init__(self, path: Path, group: zarr.Group, attributes: Any) -> None:
        self.path, self._group = path, group
        about = validated(attributes, _FORM, path, _CURE)
        self.grid: tuple[int, int] = (about["grid"][0], about["grid"][1])
        self.seeds: tuple[int, ...] = tuple(about["seeds"])
        self.clusters: int = about["clusters"]

    @classmethod
    @contextmanager
    def create(
        cls, path: str | Path, grid: tuple[int, int], seeds: Sequence[int], clusters: int
    ) -> Iterator[RegionStore]:
        """Yield an empty store; it replaces what is at `path` when the context ends without an error."""
        path = Path(path)
        with publish_folder(path) as aside:
            group = zarr.open_group(aside, mode="w", zarr_format=3)
            group.attrs[ATTRIBUTES] = {
                "format": FORMAT,
                "grid": list(grid),
                "seeds": list(seeds),
                "clusters": clusters,
            }
            yield cls(path, group, group.attrs[ATTRIBUTES])

    @classmethod
    def open(cls, path: str | Path) -> RegionStore:
        """Open a published store.

        Raises:
            FormatError: there is none, or it is damaged.
        """
        path = Path(path)
        return cls(path, *open_described(path, "r", "holds no regions", _CURE))

    def add_method(self, method: str, images: int, channels: int) -> None:
        """Make room for the maps of a method."""
        nodes, seeds = self.grid[0] * self.grid[1], len(self.seeds)
        for name, shape, chunks, dtype, missing in (
            ("labels", (seeds, images, nodes), (1, min(images, IMAGES_PER_CHUNK), nodes), "uint16", _MISSING),
            ("centroids", (seeds, self.clusters, channels), (1, self.clusters, channels), "float32", 0),
        ):
            self._group.create_array(
                f"{method}/{name}",
                shape=shape,
                chunks=chunks,
                dtype=dtype,
                compressors=[Crc32cCodec()],
                fill_value=missing,
            )

    def write(self, method: str, seed_index: int, start: int, labels: np.ndarray) -> None:
        """Store the labels (images, nodes) of the images from `start` on."""
        self._array(method, "labels")[seed_index, start : start + len(labels)] = labels

    def write_centroids(self, method: str, seed_index: int, centroids: np.ndarray) -> None:
        """Store the centroids (K, channels)."""
        self._array(method, "centroids")[seed_index] = centroids

    def read(self, method: str, seed_index: int, image: int) -> np.ndarray:
        """Return the cluster map (h, w) uint16 of one image.

        Raises:
            FormatError: it is missing or damaged; the message names it.
        """
        place = f"{self.path}/{method}/labels, image {image}"
        nodes = self.grid[0] * self.grid[1]
        try:
            array = self._array(method, "labels")
            if (array.ndim, array.shape[2:], array.dtype) != (3, (nodes,), np.uint16):
                raise ValueError(f"{array.shape} {array.dtype} are no uint16 labels of the grid {self.grid}")
            labels: np.ndarray = array[seed_index, image]
        except (FileNotFoundError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise FormatError(f"{place}: {error}; {_CURE}") from None
        if labels.max() >= self.clusters:
            raise FormatError(f"{place}: the chunk of seed {seed_index} is missing; {_CURE}")
        return labels.reshape(self.grid)

    def _array(self, method: str, name: str) -> Any:
        return self._group[f"{method}/{name}"]
