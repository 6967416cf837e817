"""The graph on disk: CSR blocks in Zarr, each readable by anndata.

    graph.zarr/                       attrs "spectral_graph": format, kind, scope, c_intra, ...
      blocks/<layer>/<id>/            anndata "csr_matrix" 0.1.0: data f4, indices i4, indptr i8
                                      beside it: rows (global node ids, i8), columns (the same of the columns, where
                                      they are not the rows), degree (f4), in_degree (i4); attrs "facts"
      merged/<normalisation>/<id>/    the mean over layers of the normalised graphs, the same layout

Scope `batch`: a block is square, over the nodes of one mini-batch. Scope `dataset`: a block holds a contiguous range of
rows of one N x N graph. A block is written under a hidden name and renamed, so a reader sees all of it or nothing.
`docs/format.md` states the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from spectral_graph.errors import FormatError
from spectral_graph.graph.block_files import read_array, read_block_files, write_block_files, write_group
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.layer_grids import layer_nodes
from spectral_graph.io.files import publish_folder, reporting_full_disk
from spectral_graph.io.inside import shown
from spectral_graph.io.zarr_group import ATTRIBUTES, open_described

FORMAT = 1
CHUNK = 1 << 20
_DAMAGE = (FileNotFoundError, NotADirectoryError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""Exceptions from reading a block of another form."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "rows": np.dtype(np.int64),
    "indptr": np.dtype(np.int64),
    "indices": np.dtype(np.int32),
    "values": np.dtype(np.float32),
    "degree": np.dtype(np.float32),
    "columns": np.dtype(np.int64),
    "in_degree": np.dtype(np.int32),
}


@dataclass(frozen=True)
class Block:
    """A CSR block: square over the nodes `rows`, or `rows` against `columns`.

    Attributes:
        rows: (n,) int64 global node ids of its rows, ascending.
        indptr: (n + 1,) int64.
        indices: (nnz,) int32, places in `columns`, or in `rows` where there are no `columns`; ascending in each row.
        values: (nnz,) float32.
        degree: (n,) float32 row sums of the affinity, or None for merged blocks.
        facts: what is known about the block.
        columns: (m,) int64 global node ids of its columns, ascending; None where they are the rows.
        in_degree: (n,) int32, how many nodes of the graph chose each row's node, or None for merged blocks.
    """

    rows: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    degree: np.ndarray | None
    facts: Mapping[str, Any]
    columns: np.ndarray | None = None
    in_degree: np.ndarray | None = None

    @property
    def column_ids(self) -> np.ndarray:
        """Global node ids of the columns, ascending."""
        return self.rows if self.columns is None else self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.rows), len(self.column_ids)

    @property
    def csr(self) -> CsrRows:
        """The matrix, over the same memory; its columns are places in `column_ids`."""
        return CsrRows(self.indptr, self.indices, self.values)


class GraphStore:
    """Blocks on disk. Open with `create` or `open`."""

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path = path
        self.attributes = attributes

    @classmethod
    def create(cls, path: str | Path, attributes: Mapping[str, Any]) -> GraphStore:
        """Open the store for writing; `attributes` describe the graph (kind, nodes, layers, threshold, ...)."""
        path, full = Path(path), {"format": FORMAT, **attributes}
        with reporting_full_disk(path):
            path.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(path, mode="a", zarr_format=3)
            group.attrs[ATTRIBUTES] = full
        return cls(path, full)

    @classmethod
    def open(cls, path: str | Path) -> GraphStore:
        """Open a store for reading.

        Raises:
            FormatError: there is none, or of another format.
        """
        path = Path(path)
        _, attributes = open_described(path, "r", "holds no graph", "build one with: spectral-graph graph")
        if not isinstance(attributes, dict):
            raise FormatError(f"{path} holds no graph (its attributes are damaged); compute it with `force=graph`")
        if attributes.get("format") != FORMAT:
            found = shown(attributes.get("format"))
            raise FormatError(
                f"{path} has graph format {found}, this version reads {FORMAT}; compute it with: `force=graph`"
            )
        return cls(path, attributes)

    def set_attributes(self, **attributes: Any) -> None:
        """Add to the description of the graph."""
        self.attributes.update(attributes)
        with reporting_full_disk(self.path):
            zarr.open_group(self.path, mode="r+", zarr_format=3).attrs[ATTRIBUTES] = self.attributes

    def has(self, name: str) -> bool:
        """Return whether the block `name` ("blocks/<layer>/<id>") is complete."""
        return (self.path / name / "zarr.json").is_file()

    def names(self, prefix: str) -> list[str]:
        """Return the names of the complete blocks below `prefix`, e.g. "blocks/blocks.5", in ascending order."""
        folder = self.path / prefix
        if not folder.is_dir():
            return []
        found = (p.name for p in folder.iterdir() if not p.name.startswith(".") and (p / "zarr.json").is_file())
        return [f"{prefix}/{name}" for name in sorted(found)]

    def write(self, name: str, block: Block) -> None:
        """Publish a block; it replaces one of the same name."""
        self.make_folder(str(Path(name).parent))
        with publish_folder(self.path / name) as aside:
            attributes = {
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": list(block.shape),
                "facts": dict(block.facts),
            }
            arrays: dict[str, np.ndarray] = {
                "data": block.values.astype(np.float32, copy=False),
                "indices": block.indices.astype(np.int32, copy=False),
                "indptr": block.indptr.astype(np.int64, copy=False),
                "rows": block.rows.astype(np.int64, copy=False),
            }
            if block.columns is not None:
                arrays["columns"] = block.columns.astype(np.int64, copy=False)
            if block.degree is not None:
                arrays["degree"] = block.degree.astype(np.float32, copy=False)
            if block.in_degree is not None:
                arrays["in_degree"] = block.in_degree.astype(np.int32, copy=False)
            write_block_files(aside, attributes, arrays, CHUNK)

    def read(self, name: str, cached: bool = True) -> Block:
        """Read a block.

        Args:
            name: of the block.
            cached: whether it may stay in the system's cache, for the next time.

        Raises:
            FormatError: it is missing or damaged; the message names it.
        """
        with self._reporting_damage(name):
            attributes, part = self._stored(name, cached)
            shape, facts = attributes["shape"], attributes["facts"]
            block = Block(
                part["rows"],
                part["indptr"],
                part["indices"],
                part["data"],
                part.get("degree"),
                facts,
                part.get("columns"),
                part.get("in_degree"),
            )
            problem = _problem(block, tuple(shape), self.attributes.get("nodes"))
        if problem:
            raise FormatError(f"{self.path}/{name}: damaged block ({problem}); recompute with `force=graph`")
        return block

    def _stored(self, name: str, cached: bool) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the attributes of a block and its arrays; through zarr where they are not stored as `write` does."""
        found = read_block_files(self.path / name, cached)
        if found is not None:
            return found
        group = zarr.open_group(self.path / name, mode="r", zarr_format=3)
        return group.attrs, {key: array[...] for key, array in group.arrays()}

    def read_rows(self, name: str) -> np.ndarray:
        """Return the rows (n,) int64 of a block, and read nothing else of it.

        Raises:
            FormatError: it is missing or damaged; the message names it.
        """
        with self._reporting_damage(name):
            return self._array(name, "rows")

    def read_degrees(self, layer: str) -> np.ndarray:
        """Return the degrees (nodes of the layer,) float32 of scope `dataset`, where each node is in one block.

        Raises:
            FormatError: a block is damaged; the message names it.
        """
        degrees = np.zeros(layer_nodes(self.attributes, layer), np.float32)
        for name in self.names(f"blocks/{layer}"):
            with self._reporting_damage(name):
                degrees[self._array(name, "rows")] = self._array(name, "degree")
        return degrees

    def _array(self, name: str, part: str) -> np.ndarray:
        found = read_array(self.path / name / part, cached=True)
        if found is None:
            array: Any = zarr.open_array(self.path / name / part, mode="r", zarr_format=3)
            found = array[...]
        return found

    @contextmanager
    def _reporting_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise FormatError(f"{self.path}/{name}: damaged block ({error}); recompute with `force=graph`") from None

    def make_folder(self, prefix: str) -> None:
        """Make the group of the blocks below `prefix`; several processes may then write blocks there."""
        with reporting_full_disk(self.path):
            folder = self.path
            for part in Path(prefix).parts:
                folder /= part
                folder.mkdir(exist_ok=True)
                if not (folder / "zarr.json").is_file():
                    write_group(folder, {})


def local_columns(indices: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns that occur, ascending (m,) int64, and the place of each of `indices` among them, int32."""
    # A block of a large graph reads a small range of columns; only that is scanned.
    first = int(indices.min(initial=nodes))
    near = indices - first
    used = np.zeros(int(near.max(initial=-1)) + 1, bool)
    used[near] = True
    place = np.cumsum(used, dtype=np.int32)
    place -= 1
    return np.flatnonzero(used) + first, place[near]


def _problem(block: Block, shape: tuple[int, ...], nodes: int | None) -> str:
    """Return the first contradiction between the arrays of a block, which a kernel could not survive; "" if none."""
    for name, dtype in _DTYPES.items():
        array: np.ndarray | None = getattr(block, name)
        if array is not None and (array.ndim != 1 or array.dtype != dtype):
            return f"{name} has {array.ndim} axes of {array.dtype}, not one of {dtype}"
    nnz, (n, m) = len(block.values), block.shape
    if any(len(array) != n for array in (block.degree, block.in_degree) if array is not None):
        return "its arrays do not fit together"
    if shape != (n, m) or len(block.indptr) != n + 1 or len(block.indices) != nnz:
        return "its arrays do not fit together"
    if block.indptr[0] != 0 or block.indptr[-1] != nnz or bool((np.diff(block.indptr) < 0).any()):
        return "indptr is not ascending from 0 to the number of stored values"
    if nnz and (int(block.indices.min()) < 0 or int(block.indices.max()) >= m):
        return f"a column lies outside 0..{m - 1}"
    for name, ids in (("rows", block.rows), ("columns", block.column_ids)):
        outside = len(ids) and (ids[0] < 0 or (nodes is not None and ids[-1] >= nodes))
        if outside or bool((np.diff(ids) <= 0).any()):
            return f"{name} is not ascending within the nodes of the graph"
    return ""
