"""The eigenvector bank: node-by-channel arrays in raw memory-mapped files, in generations.

    bank/X.3.f32    (nodes, channels) float32, row-major; 3 is the generation
    bank/bank.json  shape, generation, checksums, and what the owner notes beside it

A generation is written aside and becomes current when bank.json is renamed into place: a crash at any instant
leaves the last complete generation.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from spectral_graph.errors import FormatError
from spectral_graph.files import disk_full_in_words, read_json, remove, require_space, write_json

FORMAT = 1
CHECKSUM_CHUNK = 1 << 24


class Bank:
    """Named arrays (nodes, channels) float32 on disk.

    Args:
        path: its folder.
        shape: (nodes, channels).
        names: the arrays, e.g. ("X",) or ("X", "m", "v").
        nodes_per_image: rows of one image, for `read`.
    """

    def __init__(self, path: Path, shape: tuple[int, int], names: Sequence[str], nodes_per_image: int) -> None:
        self.path, self.shape, self.names, self.nodes_per_image = path, shape, tuple(names), nodes_per_image
        self.generation = 0
        self.notes: dict[str, Any] = {}
        self.checksums: dict[str, int] = {}
        self._draft: dict[str, np.memmap[Any, np.dtype[np.float32]]] = {}

    @classmethod
    def open(cls, path: Path, verify: bool = True) -> Bank:
        """Open the last complete generation.

        Args:
            path: folder of the bank.
            verify: read all of it once and compare the checksums.

        Raises:
            FormatError: missing, truncated, or damaged; the message names the file.
        """
        if not (path / "bank.json").is_file():
            raise FormatError(f"{path} holds no bank (no bank.json); compute it with: spectral-graph solve")
        about = read_json(path / "bank.json")
        if about.get("format") != FORMAT:
            raise FormatError(f"{path}/bank.json has format {about.get('format')!r}, this version reads {FORMAT}")
        nodes, channels = about["shape"]
        bank = cls(path, (nodes, channels), about["arrays"], about["nodes_per_image"])
        bank.generation, bank.notes, bank.checksums = about["generation"], about["notes"], about["checksums"]
        for name in bank.names:
            file = bank._file(name, bank.generation)
            size = file.stat().st_size if file.is_file() else -1
            if size != nodes * channels * 4:
                raise FormatError(
                    f"{file} has {max(size, 0)} bytes, expected {nodes * channels * 4}: it is truncated or missing; "
                    "recompute with --force solve"
                )
            if verify and _checksum(bank.view(name)) != bank.checksums[name]:
                raise FormatError(f"{file} is damaged: its checksum differs; recompute with --force solve")
        return bank

    @staticmethod
    def exists(path: Path) -> bool:
        """Tell whether a complete generation lies in `path`."""
        return (path / "bank.json").is_file()

    @property
    def n_images(self) -> int:
        """Number of images."""
        return self.shape[0] // self.nodes_per_image

    @property
    def channels(self) -> int:
        """Number of columns."""
        return self.shape[1]

    def view(self, name: str = "X") -> np.ndarray:
        """Return the current generation of an array, (nodes, channels) float32, memory-mapped, read-only, no copy."""
        return np.memmap(self._file(name, self.generation), np.float32, "r", shape=self.shape)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows of X of images start..stop as a copy, ((stop - start) * nodes_per_image, channels)."""
        rows = slice(start * self.nodes_per_image, stop * self.nodes_per_image)
        return np.array(self.view()[rows])

    def begin(self, copy: bool = False) -> Mapping[str, np.ndarray]:
        """Start the next generation and return its arrays, writable and memory-mapped.

        Args:
            copy: start from the current generation's values; otherwise the content is zeros.

        Raises:
            DiskFullError: it does not fit; nothing has changed then.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        size = self.shape[0] * self.shape[1] * 4
        require_space(self.path, size * len(self.names), f"the bank {self.path}")
        for name in self.names:
            file = self._file(name, self.generation + 1)
            with disk_full_in_words(self.path), file.open("wb") as handle:
                allocate(handle, size)
            array = np.memmap(file, np.float32, "r+", shape=self.shape)
            if copy and self.generation:
                array[:] = self.view(name)
            self._draft[name] = array
        return self._draft

    def draft(self, name: str = "X") -> np.ndarray:
        """Return an array of the generation begun and not yet committed."""
        return self._draft[name]

    def commit(self, **notes: Any) -> None:
        """Make the generation begun the current one, with `notes` beside it, and drop the one before."""
        for name, array in self._draft.items():
            array.flush()
            self.checksums[name] = _checksum(array)
        self._draft = {}
        self.generation += 1
        self.notes = notes
        write_json(
            self.path / "bank.json",
            {
                "format": FORMAT,
                "shape": list(self.shape),
                "dtype": "float32",
                "nodes_per_image": self.nodes_per_image,
                "generation": self.generation,
                "arrays": list(self.names),
                "checksums": self.checksums,
                "notes": notes,
            },
        )
        current = {self._file(name, self.generation).name for name in self.names}
        for file in self.path.glob("*.f32"):
            if file.name not in current:
                remove(file)

    def _file(self, name: str, generation: int) -> Path:
        return self.path / f"{name}.{generation}.f32"


def allocate(handle: BinaryIO, size: int) -> None:
    """Take `size` bytes of disk now: a full disk met later through a memory map would kill the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle.fileno(), 0, size)
    else:
        handle.write(b"\0" * size)


def _checksum(array: np.ndarray) -> int:
    flat = array.reshape(-1).view(np.uint8)
    value = 0
    for start in range(0, len(flat), CHECKSUM_CHUNK):
        value = zlib.crc32(flat[start : start + CHECKSUM_CHUNK].data, value)
    return value
