"""Working files of parts that are read one by one, each with its checksum.

    magic, number of parts, byte and CRC-32C of each part, CRC-32C of all that: uint64
    the bytes of the parts, one behind the other

A file is written aside, forced to the disk and renamed. What a loss of power or a failing disk makes of it all the
same (an empty, zeroed, cut or changed file) does not pass for a file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from spectral_graph.errors import FormatError
from spectral_graph.io.files import publish_file

_MAGIC = int.from_bytes(b"sg-part1", "little")
_NUMBER = np.dtype("<u8")
_HEAD = 2
"""Numbers before the table of the parts."""
_READ_BYTES = 1 << 24

Part = Sequence[np.ndarray]
"""Arrays that are stored one behind the other."""


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    """Write a file; its folder is made where it is missing.

    Raises:
        DiskFullError: there is no space.
    """
    table = np.array([(sum(array.nbytes for array in part), _checksum(part)) for part in parts], _NUMBER)
    head = np.array([_MAGIC, len(parts), *table.reshape(-1)], _NUMBER)
    with publish_file(path) as aside, aside.open("wb") as file:
        file.write(head.tobytes() + _own_checksum(head))
        for part in parts:
            for array in part:
                file.write(_bytes(array).data)


def is_whole(path: Path, parts: int) -> bool:
    """Tell whether a file is there, has so many parts, and holds what was written."""
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
        raise FormatError(f"{path} is damaged ({error}); run the same command again, it is made anew") from None
    if len(content) != size or google_crc32c.value(content) != crc:
        raise FormatError(
            f"{path} is damaged: the checksum of part {index} differs; run the same command again, it is made anew"
        )
    return content


def _table(file: BinaryIO) -> np.ndarray:
    """Return (parts, 2) uint64, bytes and checksum of each part, and stay where the first part begins.

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
