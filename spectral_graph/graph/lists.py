"""Working files of scope `dataset`: directed neighbour lists by ranges of rows, and their transpose computed on disk.

Each file consists of parts that are read one by one, with a checksum for each:

    magic, number of parts, size and CRC-32C of each part, CRC-32C of all that: uint64
    the bytes of the parts, one after the other

A file is written under a hidden name, forced to the disk and renamed. A file that a power failure or a failing disk
left empty, zeroed, truncated or changed is detected and written again. Memory: one range of rows, and one number a
node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from scipy.sparse import coo_matrix

from spectral_graph.errors import FormatError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.io.files import publish_file, remove

_MAGIC = int.from_bytes(b"sg-part1", "little")
_NUMBER = np.dtype("<u8")
_HEAD = 2
"""Numbers before the table of the parts."""
_READ_BYTES = 1 << 24

Part = Sequence[np.ndarray]
"""Arrays that are stored one after the other."""


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    """Publish a file; its folder is made if necessary.

    Raises:
        DiskFullError: the disk is full.
    """
    table = np.array([(sum(array.nbytes for array in part), _checksum(part)) for part in parts], _NUMBER)
    head = np.array([_MAGIC, len(parts), *table.reshape(-1)], _NUMBER)
    with publish_file(path) as aside, aside.open("wb") as file:
        file.write(head.tobytes() + _own_checksum(head))
        for part in parts:
            for array in part:
                file.write(_bytes(array).data)


def is_whole(path: Path, parts: int) -> bool:
    """Return whether a file exists, has this number of parts, and all checksums match."""
    try:
        with path.open("rb") as file:
            table = _table(file)
            return (
                len(table) == parts
                and all(_crc_of_next(file, int(size)) == crc for size, crc in table.tolist())
                and not file.read(1)
            )
    except (OSError, ValueError):
        return False


def read_part(path: Path, index: int) -> np.ndarray:
    """Return one part (bytes,) uint8.

    Raises:
        FormatError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            table = _table(file)
            size, crc = table[index].tolist()
            file.seek(int(table[:index, 0].sum()), os.SEEK_CUR)
            content = np.fromfile(file, np.uint8, size)
    except (OSError, ValueError, IndexError) as error:
        raise FormatError(f"{path} is damaged ({error}); run the same command again, which rebuilds it") from None
    if len(content) != size or google_crc32c.value(content) != crc:
        raise FormatError(
            f"{path} is damaged: the checksum of part {index} differs; run the same command again, which rebuilds it"
        )
    return content


def _table(file: BinaryIO) -> np.ndarray:
    """Return (parts, 2) uint64, size and checksum of each part; the file position is then the first part.

    Raises:
        ValueError: the beginning of the file is damaged.
    """
    raw = file.read(_HEAD * _NUMBER.itemsize)
    magic, parts = np.frombuffer(raw, _NUMBER).tolist() if len(raw) == _HEAD * _NUMBER.itemsize else (0, 0)
    if magic != _MAGIC or parts > os.fstat(file.fileno()).st_size:
        raise ValueError("it does not begin as such a file does")
    raw += file.read(2 * parts * _NUMBER.itemsize)
    head = np.frombuffer(raw, _NUMBER)
    if len(head) != _HEAD + 2 * parts or file.read(_NUMBER.itemsize) != _own_checksum(head):
        raise ValueError("the checksum of its beginning differs")
    return head[_HEAD:].reshape(parts, 2)


def _own_checksum(head: np.ndarray) -> bytes:
    return int(google_crc32c.value(head.tobytes())).to_bytes(_NUMBER.itemsize, "little")


def _checksum(part: Part) -> int:
    crc = 0
    for array in part:
        crc = google_crc32c.extend(crc, _bytes(array))
    return crc


def _crc_of_next(file: BinaryIO, size: int) -> int:
    crc = 0
    for begin in range(0, size, _READ_BYTES):
        crc = google_crc32c.extend(crc, file.read(min(_READ_BYTES, size - begin)))
    return crc


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


class ListFiles:
    """Neighbour lists of all nodes, one file a range of rows.

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
        """Whether all files exist and are whole."""
        return all(map(self.has, range(len(self))))

    def has(self, index: int) -> bool:
        """Return whether a file exists and is whole."""
        return is_whole(self._file(index), 1)

    def read(self, index: int) -> CsrRows:
        """Return the lists of one range of rows.

        Raises:
            FormatError: the file is missing or damaged.
        """
        content = read_part(self._file(index), 0)
        head = 8 * (int(self.bounds[index + 1] - self.bounds[index]) + 1)
        if len(content) < head or (len(content) - head) % 8:
            raise FormatError(f"{self._file(index)} holds other rows; remove it and run the same command again")
        indices, values = np.split(content[head:], 2)
        return CsrRows(content[:head].view(np.int64), indices.view(np.int32), values.view(np.float32))

    def write(self, index: int, lists: CsrRows) -> None:
        """Store the lists of one range of rows."""
        write_parts(self._file(index), [(lists.indptr, lists.indices, lists.values)])

    def _file(self, index: int) -> Path:
        return self.path / f"{index:06d}.lists"


class Transposed:
    """The transpose of neighbour lists, range of rows by range of rows.

    `spill` writes the entries of each range ordered by column; `read` collects those of one range of columns from all
    files, in the order of the rows. So the result does not depend on the ranges.

    Args:
        source: the lists, complete.
        folder: where the spilled entries go.
    """

    def __init__(self, source: ListFiles, folder: Path) -> None:
        self.source, self.folder = source, folder

    def spill(self) -> None:
        """Write the entries of each range, ordered by column; whole files of an earlier call are kept.

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

    def read(self, index: int) -> CsrRows:
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
        return CsrRows.from_scipy(matrix.tocsr())

    def remove(self) -> None:
        """Remove the spilled entries."""
        remove(self.folder)

    def _file(self, index: int) -> Path:
        return self.folder / f"{index:06d}.spill"
