"""Vectors of nodes in the forms that callers of `spectral_embedding` use, prepared for the search.

Arrays of float16 and float32 are taken as they are. All others, and numbers near the ends of float32, are read in
float64 part by part: the mean is subtracted there and each row scaled by a power of two, which no cosine sees, before
it is rounded to float32. A memory map is never read as a whole.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

from spectral_graph.errors import FeatureError
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.node_rows import ArrayRows, NodeRows, Which

PART = 4096
"""Rows that are read at a time."""
PLAIN = 2.0**-60, 2.0**60
"""If the largest number lies between these, neither means nor squares leave the range of float32."""
NOISE = 2.0**-50
"""Relative to the lengths of row and mean: a centred row shorter than this is rounding error."""
EXPECTED = "expected a matrix (nodes, d) of numbers"


@dataclass(frozen=True, eq=False)
class Layer:
    """Queries and keys of a layer, whose affinity compares the queries of some nodes with the keys of others (Q-K).

    Attributes:
        queries: (N, d) vectors; see `split_layers`.
        keys: (N, d) vectors.
    """

    queries: Any
    keys: Any


def split_layers(features: Any) -> list[tuple[Any, ...]]:
    """Return the matrices of each layer: one, or queries and keys.

    Args:
        features: one layer, or a list of layers. A layer is a matrix (nodes, d) or a `Layer` of two such. A
            matrix is an array of NumPy, torch, SciPy, pandas, Zarr or the like, or a list of rows of numbers.

    Returns:
        For each layer its arrays, sliced by rows; dense, without mask, of real numbers, on this machine.

    Raises:
        FeatureError: something else is among them; the message names the layer.
    """
    layers = list(features) if isinstance(features, list) and not _holds_rows(features) else [features]
    if not layers:
        raise FeatureError("there are no features: the list of layers is empty")
    found: list[tuple[Any, ...]] = []
    for number, layer in enumerate(layers):
        if isinstance(layer, Layer):
            sides = ((layer.queries, "queries"), (layer.keys, "keys"))
            found.append(tuple(_matrix(side, f"{name} of layer {number}") for side, name in sides))
        elif isinstance(layer, tuple) and not _holds_rows(layer):
            raise FeatureError(
                f"features of layer {number} are a tuple of {len(layer)}; give queries and keys as Layer(queries, keys)"
                ", and several layers as a list"
            )
        else:
            found.append((_matrix(layer, f"features of layer {number}"),))
    nodes = found[0][0].shape[0]
    for number, arrays in enumerate(found):
        for array in arrays:
            if array.shape[0] != nodes or array.shape != arrays[0].shape:
                raise FeatureError(
                    f"features of layer {number} have shape {tuple(array.shape)}; {EXPECTED} with {nodes} nodes like "
                    "the first layer, queries and keys of equal shape"
                )
    return found


def _holds_rows(given: Any) -> bool:
    """Return whether a list or tuple is a matrix, row by row."""
    if not given:
        return False
    first = given[0]
    if isinstance(first, list | tuple):
        return len(first) > 0 and isinstance(first[0], numbers.Number)
    return getattr(first, "ndim", None) == 1


def _matrix(given: Any, what: str) -> Any:
    """Return an array of two dimensions, or something that gives its rows when it is sliced."""
    array = _array(given, what)
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if len(shape) == 3:
        raise FeatureError(
            f"{what} have shape {shape}; {EXPECTED}: give X.reshape(-1, {shape[2]}) and `nodes_per_image={shape[1]}`"
        )
    if len(shape) != 2:
        raise FeatureError(f"{what} have shape {shape}; {EXPECTED}")
    if dtype.kind not in "fiub":
        raise FeatureError(f"{what} hold {dtype}; {EXPECTED}")
    if 0 in shape:
        raise FeatureError(f"{what} have shape {shape}: there are no rows or no columns; {EXPECTED}")
    return array


def _array(given: Any, what: str) -> Any:
    if isinstance(given, torch.Tensor):
        return _from_torch(given, what)
    if sparse.issparse(given):
        return given.toarray()
    if isinstance(given, np.ma.MaskedArray):
        if np.ma.is_masked(given):
            raise FeatureError(f"{what} are a masked array with masked entries; fill them, or leave their nodes out")
        return np.asarray(given)
    if isinstance(given, np.ndarray):
        return given if isinstance(given, np.memmap) else np.asarray(given)
    lazy = all(hasattr(given, name) for name in ("shape", "dtype", "__getitem__"))
    if lazy and (hasattr(given, "oindex") or hasattr(given, "chunks")):
        return given
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise FeatureError(f"{what}, a {type(given).__name__}, are no array ({error}); {EXPECTED}") from None
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise FeatureError(f"{what} are a {type(given).__name__} of {array.dtype}, shape {array.shape}; {EXPECTED}")
    return array


def _from_torch(given: torch.Tensor, what: str) -> np.ndarray:
    if given.dtype.is_complex:
        raise FeatureError(f"{what} hold {given.dtype}; {EXPECTED}")
    try:
        dense = given.detach()
        dense = dense.dequantize() if dense.is_quantized else dense
        dense = dense if dense.layout is torch.strided else dense.to_dense()
        dense = dense.cpu().resolve_neg()
        narrow = dense.dtype.is_floating_point and dense.dtype not in (torch.float16, torch.float32, torch.float64)
        return np.asarray((dense.float() if narrow else dense).numpy())
    except (RuntimeError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise FeatureError(f"{what}, a tensor on {given.device}, cannot be read ({reason}); {EXPECTED}") from None


def _parts(rows: ArrayRows) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the first row of each part, and the part."""
    for start in range(0, rows.shape[0], PART):
        yield start, as_readonly_tensor(rows.read(slice(start, min(start + PART, rows.shape[0]))))


class ScaledRows:
    """Rows (nodes, d) float32 whose cosines are those of float64 numbers minus a mean.

    Each row is scaled by a power of two. A row that equals the mean but for rounding is zero.

    Args:
        rows: float64.
        largest: of the absolute numbers.
        centre: whether to subtract the mean.
    """

    def __init__(self, rows: ArrayRows, largest: float, centre: bool) -> None:
        self._rows, self.shape, self.dtype = rows, rows.shape, np.dtype(np.float32)
        self._exponent = int(np.frexp(largest)[1])
        self._mean = np.zeros(rows.shape[1])
        if centre:
            # Sums of distances from the first row: of equal rows the mean is exact.
            first = self._near_one(rows.read(slice(0, 1)))[0]
            total = np.zeros(rows.shape[1])
            for _, part in _parts(rows):
                total += (self._near_one(part.numpy()) - first).sum(axis=0)
            self._mean = first + total / rows.shape[0]

    def read(self, which: Which) -> np.ndarray:
        """Return rows; see `NodeRows`."""
        part = self._near_one(self._rows.read(which))
        rounding = NOISE * np.linalg.norm(self._mean)
        limit = rounding + NOISE * np.linalg.norm(part, axis=1) if rounding else 0.0
        part -= self._mean
        lengths = np.linalg.norm(part, axis=1)
        part[lengths <= limit] = 0
        # The square of a length may leave float64 at its lower end, the largest number of a row does not.
        exponents = np.frexp(np.abs(part).max(axis=1))[1]
        return np.ldexp(part, -exponents[:, None]).astype(np.float32)

    def _near_one(self, part: np.ndarray) -> np.ndarray:
        return np.asarray(np.ldexp(part, -self._exponent))


def ready_rows(array: Any, centre: bool, what: str) -> tuple[NodeRows, np.ndarray | None]:
    """Return rows for a search, and the mean (d,) float32 that it is to subtract, if any.

    Args:
        array: one of `split_layers`.
        centre: whether the mean row is subtracted before cosines are taken.
        what: the array, for messages.

    Raises:
        FeatureError: NaN or infinity in a row.
    """
    plain = array.dtype in (np.float16, np.float32)
    rows = ArrayRows(array, np.dtype(array.dtype).newbyteorder("=") if plain else np.float64)
    largest, total = 0.0, torch.zeros(rows.shape[1], dtype=torch.float64)
    for start, part in _parts(rows):
        part = part.float() if plain else part
        bound = float(part.abs().max())
        if not bound < np.inf:
            node = start + int((~part.isfinite()).any(dim=1).nonzero()[0])
            raise FeatureError(f"{what}: the vector of node {node} holds NaN or infinity; leave its image out")
        largest = max(largest, bound)
        if plain:
            total += part.sum(dim=0, dtype=torch.float64)
    if plain and (largest == 0 or PLAIN[0] < largest < PLAIN[1]):
        return rows, (total / rows.shape[0]).float().numpy() if centre else None
    return ScaledRows(ArrayRows(array, np.float64), largest, centre), None


def first_nodes(nodes: int, nodes_per_image: Any = None, image_ptr: Any = None) -> np.ndarray | None:
    """Return the first node of each image and the number of nodes, (images + 1,) int64; None without images.

    Args:
        nodes: N.
        nodes_per_image: nodes of each image.
        image_ptr: the first node of each image and N, ascending from 0.

    Raises:
        FeatureError: it is something else, or both are given.
    """
    if nodes_per_image is None and image_ptr is None:
        return None
    if nodes_per_image is not None and image_ptr is not None:
        raise FeatureError("`nodes_per_image` and `image_ptr` say the same; give one of them")
    name, given = ("image_ptr", image_ptr) if nodes_per_image is None else ("nodes_per_image", nodes_per_image)
    wanted = (
        f"give the first node of each image and {nodes}, ascending from 0"
        if nodes_per_image is None
        else "give the number of nodes of an image"
    )
    try:
        array = np.asarray(given.detach().cpu() if isinstance(given, torch.Tensor) else given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise FeatureError(f"`{name}`, a {type(given).__name__}, holds no numbers ({error}); {wanted}") from None
    if array.dtype.kind not in "iu" or np.ma.is_masked(given):
        raise FeatureError(f"`{name}={_short(given)}` holds {array.dtype}, not whole numbers; {wanted}")
    if nodes_per_image is not None:
        if array.ndim != 0:
            raise FeatureError(f"`{name}={_short(given)}` has shape {array.shape}; {wanted}, or `image_ptr`")
        count = operator.index(array[()])
        if count < 1 or nodes % count:
            raise FeatureError(f"`{name}={count}`: {nodes} nodes do not divide into images of {count} nodes; {wanted}")
        return np.arange(nodes // count + 1) * count
    starts = array.astype(np.int64) if array.ndim == 1 else array
    if starts.ndim != 1 or len(starts) < 2 or starts[0] != 0 or starts[-1] != nodes or (np.diff(starts) < 1).any():
        raise FeatureError(f"`{name}={_short(given)}` has shape {starts.shape} and no such content; {wanted}")
    return starts


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
