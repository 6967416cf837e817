"""The feature store: q, k, v of every layer and the final features, one Zarr chunk an image, float16.

    features.zarr/
      layers/<layer>/<tensor>       (slots, nodes, width) float16; tensor is q, k or v; nodes of the layer's own grid
      layers/<layer>/<tensor>_mean  (slots, width) float32: mean over the nodes of the image, for centring
      final                         (slots, nodes, width) float16; nodes of the run's grid

The run's grid is that of the finest layer. A coarser layer lies here as the model made it and is resampled
bilinearly when it is read: that takes less disk, and the stored features stay what the model computed.

A slot is an image of the data set in its order; the slots of unreadable images are not written (they read as NaN).
Every chunk carries a CRC-32C, so damage is found when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import numpy as np
import zarr
from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict
from zarr.codecs import Crc32cCodec

from spectral_graph.errors import FeatureError, FormatError
from spectral_graph.grid_map import Grid, grid_map
from spectral_graph.io.files import reporting_full_disk
from spectral_graph.io.inside import PlainName, distinct, shown
from spectral_graph.io.validation import validated
from spectral_graph.io.zarr_group import ATTRIBUTES, open_described
from spectral_graph.node_rows import StoredRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FORMAT = 1
FINAL = "final"
_CURE = "recompute with `force=extract`"
_Positive = Annotated[int, Field(gt=0, lt=2**31)]
_Grid = Annotated[list[_Positive], Field(min_length=2, max_length=2)]


class _Attributes(TypedDict):
    format: Literal[1]
    slots: _Positive
    nodes: _Positive
    grid: _Grid
    coarse: NotRequired[dict[PlainName, _Grid]]
    layers: Annotated[dict[PlainName, _Positive], Field(min_length=1)]
    tensors: Annotated[list[Literal["q", "k", "v"]], AfterValidator(distinct), Field(min_length=1)]
    final_width: _Positive


def _consistent(about: _Attributes) -> _Attributes:
    if about["nodes"] != about["grid"][0] * about["grid"][1]:
        raise ValueError(f"{about['nodes']} nodes are not a grid of {about['grid'][0]} x {about['grid'][1]}")
    for name in about.get("coarse", {}):
        if name not in about["layers"]:
            raise ValueError(f"coarse names {shown(name)}, which is no layer")
    return about


_FORM: TypeAdapter[_Attributes] = TypeAdapter(Annotated[_Attributes, AfterValidator(_consistent)])


class FeatureStore:
    """Features on disk. Open with `create` or `open`."""

    def __init__(self, path: Path, group: zarr.Group, attributes: Any) -> None:
        self.path, self._group = path, group
        self.attributes = validated(attributes, _FORM, path, _CURE)
        self.slots: int = self.attributes["slots"]
        self.nodes: int = self.attributes["nodes"]
        self.grid: Grid = (self.attributes["grid"][0], self.attributes["grid"][1])
        self.layers: dict[str, int] = self.attributes["layers"]
        # Layers on the run's grid are not listed.
        self._coarse = {name: (h, w) for name, (h, w) in self.attributes.get("coarse", {}).items()}
        self._maps: dict[str, csr_array] = {}
        self.tensors: tuple[str, ...] = tuple(self.attributes["tensors"])
        self.final_width: int = self.attributes["final_width"]

    @classmethod
    def create(
        cls,
        path: str | Path,
        slots: int,
        grid: Grid,
        layers: Mapping[str, int],
        tensors: Sequence[str],
        final_width: int,
        grids: Mapping[str, Grid] | None = None,
    ) -> FeatureStore:
        """Make an empty store.

        Args:
            path: folder of the Zarr group; whatever lies there is replaced.
            slots: images, readable or not.
            grid: (h, w) of the run's nodes.
            layers: width (heads x head dimension) of each layer.
            tensors: which of q, k, v are stored.
            final_width: width of the final features.
            grids: (h, w) of layers whose grid is another.
        """
        nodes = grid[0] * grid[1]
        coarse = {name: other for name, other in (grids or {}).items() if other != grid}
        path = Path(path)
        with reporting_full_disk(path):
            group = zarr.open_group(path, mode="w", zarr_format=3)
            root = group.create_group("layers")
            for name, width in layers.items():
                layer = root.create_group(name)
                rows, columns = coarse.get(name, grid)
                for tensor in tensors:
                    _new_array(layer, tensor, (slots, rows * columns, width), "float16")
                    _new_array(layer, f"{tensor}_mean", (slots, width), "float32")
            _new_array(group, FINAL, (slots, nodes, final_width), "float16")
            group.attrs[ATTRIBUTES] = {
                "format": FORMAT,
                "slots": slots,
                "nodes": nodes,
                "grid": list(grid),
                "coarse": {name: list(other) for name, other in coarse.items()},
                "layers": dict(layers),
                "tensors": list(tensors),
                "final_width": final_width,
            }
        return cls(path, group, group.attrs[ATTRIBUTES])

    @classmethod
    def open(cls, path: str | Path) -> FeatureStore:
        """Open a store.

        Raises:
            FormatError: there is none, or it is damaged.
        """
        path = Path(path)
        return cls(path, *open_described(path, "r+", "is no feature store", _CURE))

    @staticmethod
    def bytes_needed(
        slots: int,
        grid: Grid,
        layers: Mapping[str, int],
        tensors: int,
        final_width: int,
        grids: Mapping[str, Grid] | None = None,
    ) -> int:
        """Return the size of a store with these arguments of `create`; `tensors` is their number."""
        values = grid[0] * grid[1] * final_width * 2
        for name, width in layers.items():
            rows, columns = (grids or {}).get(name, grid)
            values += tensors * width * (rows * columns * 2 + 4)
        return slots * values

    def write(self, slot: int, layers: Mapping[str, Mapping[str, np.ndarray]], final: np.ndarray) -> None:
        """Store one image: arrays (nodes, width) on each layer's own grid, converted to float16.

        Raises:
            FeatureError: NaN, infinity, or a value beyond float16; nothing of the image is written then.
        """
        ready: list[tuple[str, np.ndarray, np.ndarray | None]] = []
        for name in self.layers:
            for tensor in self.tensors:
                value = np.asarray(layers[name][tensor], np.float32)
                ready.append((f"layers/{name}/{tensor}", _half(value, f"{tensor} of layer {name}"), value))
        ready.append((FINAL, _half(np.asarray(final, np.float32), "the final features"), None))
        with reporting_full_disk(self.path):
            for key, half, full in ready:
                _of(self._group, key)[slot] = half
                if full is not None:
                    _of(self._group, f"{key}_mean")[slot] = full.mean(axis=0, dtype=np.float64).astype(np.float32)

    def rows(self, layer: str, tensor: str, slots: Sequence[int], own_grid: bool = False) -> StoredRows:
        """Return one layer's q, k or v of some images, as rows that are read when they are needed.

        Args:
            layer: name of the layer.
            tensor: q, k or v.
            slots: the images, in the order of the rows.
            own_grid: on the layer's own grid, float16. Otherwise on the run's grid: a layer of a coarser grid is then
                resampled bilinearly to float32.

        Raises:
            FormatError: the store does not hold the tensor, or its array is not as the attributes describe it.
        """
        height, width = self.grid_of(layer)
        key, shape = f"layers/{layer}/{tensor}", (self.slots, height * width, self._width(layer))
        array, resample = self._array(key, shape, "float16"), None if own_grid else self._map_to_grid(layer)
        if resample is None:
            return self._rows(array, key, slots)
        chosen = np.asarray(slots, np.int64)

        def read(images: np.ndarray) -> np.ndarray:
            stored = self._stored(array, key, chosen[images]).astype(np.float32)
            return np.concatenate([resample @ image for image in stored])

        return StoredRows(read, (len(chosen) * self.nodes, shape[2]), self.nodes)

    def final_rows(self, slots: Sequence[int]) -> StoredRows:
        """Return the final features of some images, float16, as rows that are read when they are needed."""
        return self._rows(self._array(FINAL, (self.slots, self.nodes, self.final_width), "float16"), FINAL, slots)

    def read(self, layer: str, tensor: str, slots: Sequence[int], own_grid: bool = False) -> np.ndarray:
        """Return (len(slots), nodes, width) float32 of one layer's q, k or v; see `rows`."""
        return self._whole(self.rows(layer, tensor, slots, own_grid), f"layers/{layer}/{tensor}", slots)

    def read_final(self, slots: Sequence[int]) -> np.ndarray:
        """Return (len(slots), nodes, width) float32 of the final features."""
        return self._whole(self.final_rows(slots), FINAL, slots)

    def _width(self, layer: str) -> int:
        if layer not in self.layers:
            raise FormatError(f"{self.path} holds no layer {shown(layer)}; {_CURE}")
        return self.layers[layer]

    def grid_of(self, layer: str) -> Grid:
        """Return the own grid (h, w) of a layer."""
        return self._coarse.get(layer, self.grid)

    def _map_to_grid(self, layer: str) -> csr_array | None:
        """Return the bilinear map (nodes, nodes of the layer's own grid) to the run's grid; None if both are one."""
        if layer not in self._coarse:
            return None
        if layer not in self._maps:
            self._maps[layer] = grid_map(self._coarse[layer], self.grid)
        return self._maps[layer]

    def mean(self, layer: str, tensor: str, slots: Sequence[int]) -> np.ndarray:
        """Return the mean vector (width,) float32 over all nodes of the given images, summed in float64.

        It is taken on the layer's own grid; resampling by a whole factor does not change it.
        """
        key = f"layers/{layer}/{tensor}_mean"
        array = self._array(key, (self.slots, self._width(layer)), "float32")
        total = np.zeros(array.shape[1])
        for begin in range(0, len(slots), 1024):
            total += self._stored(array, key, np.asarray(slots[begin : begin + 1024])).sum(axis=0, dtype=np.float64)
        return (total / len(slots)).astype(np.float32)

    def _array(self, key: str, shape: tuple[int, ...], dtype: str) -> zarr.Array[Any]:
        try:
            array = _of(self._group, key)
        except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError) as error:
            raise FormatError(f"{self.path}/{key}: damaged array ({error}); {_CURE}") from None
        stored = (array.shape, array.chunks, array.dtype) if isinstance(array, zarr.Array) else None
        if stored != (shape, (1, *shape[1:]), np.dtype(dtype)):
            raise FormatError(f"{self.path}/{key}: not an array of {shape} {dtype}, one image a chunk; {_CURE}")
        return array

    def _rows(self, array: zarr.Array[Any], key: str, slots: Sequence[int]) -> StoredRows:
        """Return the chunks of some images as float16 rows."""
        chosen, (nodes, width) = np.asarray(slots, np.int64), array.shape[1:]

        def read(images: np.ndarray) -> np.ndarray:
            return self._stored(array, key, chosen[images]).reshape(-1, width)

        return StoredRows(read, (len(chosen) * nodes, width), nodes, np.float16)

    def _whole(self, rows: StoredRows, key: str, slots: Sequence[int]) -> np.ndarray:
        """Return all rows as (images, nodes, width) float32."""
        values = rows.read(slice(None)).astype(np.float32).reshape(len(slots), rows.nodes_per_image, rows.channels)
        self._require_written(values, key, slots)
        return values

    def _stored(self, array: zarr.Array[Any], key: str, slots: np.ndarray) -> np.ndarray:
        """Return the chunks of some images, (len(slots), ...).

        Raises:
            FormatError: there is no such slot, or its chunk is missing or damaged; the message names it.
        """
        outside = slots[(slots < 0) | (slots >= self.slots)]
        if len(outside):
            raise FormatError(f"{self.path} has {self.slots} image slots, so there is no slot {outside[0]}; {_CURE}")
        try:
            if slots[-1] - slots[0] == len(slots) - 1 and (np.diff(slots) == 1).all():
                found = np.asarray(array[int(slots[0]) : int(slots[-1]) + 1])
            else:
                found = np.asarray(array.oindex[slots])
        except (ValueError, IndexError, OSError):
            found = np.stack([self._one(array, key, int(slot)) for slot in slots])
        # One number of each image: a missing chunk reads as NaN everywhere.
        self._require_written(found[:, 0, 0] if found.ndim > 2 else found, key, slots)
        return found

    def _require_written(self, values: np.ndarray, key: str, slots: Sequence[int] | np.ndarray) -> None:
        missing = np.isnan(values).any(axis=tuple(range(1, values.ndim)))
        if missing.any():
            raise FormatError(
                f"{self.path}/{key}, image slot {slots[int(missing.argmax())]}: its chunk is missing; {_CURE}"
            )

    def _one(self, array: zarr.Array[Any], key: str, slot: int) -> np.ndarray:
        try:
            return np.asarray(array[slot])
        except (ValueError, IndexError, OSError) as error:
            raise FormatError(f"{self.path}/{key}, image slot {slot}: damaged chunk ({error}); {_CURE}") from None


def _of(group: zarr.Group, key: str) -> Any:
    return group[key]


def _new_array(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: str) -> None:
    # What is stored is finite: NaN says that an image was not written, or that its file is gone.
    group.create_array(
        name, shape=shape, chunks=(1, *shape[1:]), dtype=dtype, compressors=[Crc32cCodec()], fill_value=np.nan
    )


def _half(value: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    if not np.isfinite(half).all():
        worst = value[~np.isfinite(half)].flat[0]
        raise FeatureError(f"{what} hold {worst}, which is not a finite float16 number")
    return half
