"""Directed neighbour lists on disk, a range of rows a file, and their transpose by way of the disk.

They are working files between the search and the finished graph. A file is written aside and renamed, so an
interrupted build finds whole files or none. Memory: one range of rows, and one number a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix

from spectral_graph.errors import FormatError
from spectral_graph.files import disk_full_in_words, remove
from spectral_graph.ops import csr_transpose


@dataclass(frozen=True)
class Lists:
    """The neighbour lists of a range of rows.

    Attributes:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 global node ids, ascending in each row.
        values: (nnz,) float32, each above 0.
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(n,) int64 lengths of the lists."""
        return np.diff(self.indptr)

    @property
    def row_of_entry(self) -> np.ndarray:
        """(nnz,) int64 row of each entry, counted from the first row of the range."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.counts)

    def where(self, keep: np.ndarray) -> Lists:
        """Return the entries for which `keep` (nnz,) is true."""
        starts = np.zeros(len(keep) + 1, np.int64)
        np.cumsum(keep, out=starts[1:])
        return Lists(starts[self.indptr], self.indices[keep], self.values[keep])

    def transpose(self, columns: int) -> Lists:
        """Return the transpose; `columns` is the number of columns, and of rows of the result."""
        indptr, rows, values = csr_transpose(*self.tensors(), columns)
        return Lists(indptr.numpy(), rows.numpy(), values.numpy())

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return indptr, indices and values as tensors over the same memory."""
        return torch.from_numpy(self.indptr), torch.from_numpy(self.indices), torch.from_numpy(self.values)

    def matrix(self, columns: int) -> csr_matrix:
        """Return it as SciPy's (n, columns), without a copy of values and indices."""
        matrix = csr_matrix((self.values, self.indices, self.indptr), shape=(len(self.indptr) - 1, columns))
        matrix.has_canonical_format = True
        return matrix

    @classmethod
    def of(cls, matrix: csr_matrix) -> Lists:
        """Take over a SciPy matrix whose rows are sorted."""
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False), matrix.data)


class ListFiles:
    """Neighbour lists of all nodes in a folder.

    Args:
        path: the folder.
        bounds: (files + 1,) int64: file i holds the rows bounds[i] to bounds[i + 1].
    """

    def __init__(self, path: Path, bounds: np.ndarray) -> None:
        self.path, self.bounds = path, bounds

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return int(self.bounds[-1])

    @property
    def complete(self) -> bool:
        """Tell whether all files are there."""
        return all(map(self.has, range(len(self))))

    def has(self, index: int) -> bool:
        """Tell whether a file is there."""
        return self._file(index).is_file()

    def read(self, index: int) -> Lists:
        """Return the lists of one range of rows."""
        with self._file(index).open("rb") as file:
            return Lists(np.load(file), np.load(file), np.load(file))

    def write(self, index: int, lists: Lists) -> None:
        """Store the lists of one range of rows."""
        _publish(self._file(index), lists.indptr, lists.indices, lists.values)

    def _file(self, index: int) -> Path:
        return self.path / f"{index:06d}.lists"


class Transposed:
    """The transpose of neighbour lists, range of rows by range of rows.

    `spill` writes for each range its entries ordered by column; `read` picks those of one range of columns out of all
    files, in the order of the rows. So the result is the same for every choice of ranges.

    Args:
        source: the lists, complete.
        folder: where the spilled entries go.
    """

    def __init__(self, source: ListFiles, folder: Path) -> None:
        self.source, self.folder = source, folder

    def spill(self) -> None:
        """Write the entries of each range, ordered by column; ranges that an earlier call wrote are kept."""
        for index in range(len(self.source)):
            if not self._file(index).is_file():
                turned = self.source.read(index).transpose(self.source.nodes)
                columns = turned.row_of_entry.astype(np.int32)
                rows = turned.indices + np.int32(self.source.bounds[index])
                _publish(self._file(index), turned.indptr[self.source.bounds], columns, rows, turned.values)

    def read(self, index: int) -> Lists:
        """Return the lists of one range of the transpose."""
        first, last = (int(bound) for bound in self.source.bounds[index : index + 2])
        parts: list[tuple[np.ndarray, ...]] = []
        for other in range(len(self.source)):
            with self._file(other).open("rb") as file:
                starts = np.load(file)
                parts.append(tuple(_load_slice(file, int(starts[index]), int(starts[index + 1])) for _ in range(3)))
        columns, rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        # Sources come in ascending order, and the conversion keeps the order within a row.
        matrix = coo_matrix((values, (columns - np.int32(first), rows)), shape=(last - first, self.source.nodes))
        return Lists.of(matrix.tocsr())

    def remove(self) -> None:
        """Remove the spilled entries."""
        remove(self.folder)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.spill"


def _load_slice(file: BinaryIO, start: int, stop: int) -> np.ndarray:
    """Return the elements start..stop of the .npy array that begins at the position of `file`, and go past it."""
    version = np.lib.format.read_magic(file)
    assert version == (1, 0)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    begin = file.tell()
    file.seek(begin + start * dtype.itemsize)
    part = np.fromfile(file, dtype, stop - start)
    file.seek(begin + shape[0] * dtype.itemsize)
    if len(part) != stop - start:
        raise FormatError(f"{file.name} is truncated; recompute with --force graph")
    return part


class _Checked:
    """Hides from NumPy that this is a file: to a file it writes through a C stream and does not see a full disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        return self._file.write(data)


def _publish(path: Path, *arrays: np.ndarray) -> None:
    """Write arrays behind one another in .npy format, aside, then rename."""
    aside = path.with_name(f".{path.name}.partial")
    with disk_full_in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            for array in arrays:
                np.save(_Checked(file), array)
        aside.replace(path)
