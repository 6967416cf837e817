"""Directed neighbour lists on disk, a range of rows a file, and their transpose by way of the disk.

They are working files between the search and the finished graph (`checked_file`). A build that goes on makes files anew
that are not whole. Memory: one range of rows, and one number a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix

from spectral_graph.errors import FormatError
from spectral_graph.graph.checked_file import is_whole, read_part, write_parts
from spectral_graph.io.files import remove
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
        """Tell whether all files are there and whole."""
        return all(map(self.has, range(len(self))))

    def has(self, index: int) -> bool:
        """Tell whether a file is there and whole."""
        return is_whole(self._file(index), 1)

    def read(self, index: int) -> Lists:
        """Return the lists of one range of rows.

        Raises:
            FormatError: the file is missing or damaged.
        """
        content = read_part(self._file(index), 0)
        head = 8 * (int(self.bounds[index + 1] - self.bounds[index]) + 1)
        if len(content) < head or (len(content) - head) % 8:
            raise FormatError(f"{self._file(index)} holds other rows; remove it and run the same command again")
        indices, values = np.split(content[head:], 2)
        return Lists(content[:head].view(np.int64), indices.view(np.int32), values.view(np.float32))

    def write(self, index: int, lists: Lists) -> None:
        """Store the lists of one range of rows."""
        write_parts(self._file(index), [(lists.indptr, lists.indices, lists.values)])

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
        """Write the entries of each range, ordered by column; ranges that an earlier call wrote are kept if whole.

        A part of a file holds the columns, rows and values of the entries in one range of columns.
        """
        for index in range(len(self.source)):
            if not is_whole(self._file(index), len(self.source)):
                turned = self.source.read(index).transpose(self.source.nodes)
                columns = turned.row_of_entry.astype(np.int32)
                rows = turned.indices + np.int32(self.source.bounds[index])
                cuts = turned.indptr[self.source.bounds[1:-1]]
                parts = zip(*(np.split(array, cuts) for array in (columns, rows, turned.values)), strict=True)
                write_parts(self._file(index), list(parts))

    def read(self, index: int) -> Lists:
        """Return the lists of one range of the transpose.

        Raises:
            FormatError: a file is missing or damaged.
        """
        first, last = (int(bound) for bound in self.source.bounds[index : index + 2])
        parts: list[tuple[np.ndarray, ...]] = []
        for other in range(len(self.source)):
            columns, rows, values = np.split(read_part(self._file(other), index), 3)
            parts.append((columns.view(np.int32), rows.view(np.int32), values.view(np.float32)))
        columns, rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        # Sources come in ascending order, and the conversion keeps the order within a row.
        matrix = coo_matrix((values, (columns - np.int32(first), rows)), shape=(last - first, self.source.nodes))
        return Lists.of(matrix.tocsr())

    def remove(self) -> None:
        """Remove the spilled entries."""
        remove(self.folder)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.spill"
