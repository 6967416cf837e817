"""The eigenvector bank: node-by-channel arrays in raw files, in generations.

    X.3.f32        (nodes, channels), row-major; 3 is the generation; .bf16 for bfloat16
    images.3.npy   a record for each image: the generation that wrote it last, a CRC-32 for each array, the counters
    bank.json      shape, dtype, generation, and the owner's notes
    previous.json  the same of the generation before, while its files are here

A generation is written aside and becomes current when bank.json is renamed into place: a crash at any instant
leaves the last complete generation. The one before stays until the next begins and takes over its files. So a
revision copies only the images that differ, and the disk never holds more than two generations.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from spectral_graph.bank.generation import CURRENT, PREVIOUS, Generation, Layout, load
from spectral_graph.bank.rows import RowFile
from spectral_graph.errors import FormatError
from spectral_graph.io.files import link_or_copy, write_atomically

if TYPE_CHECKING:
    import torch


class Bank(Layout):
    """Named arrays (nodes, channels) on disk.

    Args:
        path: folder of the bank.
        shape: (nodes, channels).
        names: the arrays, e.g. ("X",) or ("X", "m", "v").
        nodes_per_image: rows of one image.
        dtype: storage dtype, float32 or bfloat16.
        counters: names of int64 numbers that the owner keeps for each image; see `records`.

    Attributes:
        n_images: number of images.
        channels: number of columns.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        names: Sequence[str],
        nodes_per_image: int,
        dtype: str = "float32",
        counters: Sequence[str] = (),
    ) -> None:
        super().__init__(path, shape, names, nodes_per_image, dtype, counters)
        self._now = self._next = Generation()
        self._draft: dict[str, np.memmap[Any, Any]] = {}
        self._open: dict[str, RowFile] = {}
        self._mapped = False  # the draft may be written through its memory maps
        self._verified = True

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bank:
        """Open the last complete generation.

        Args:
            path: folder of the bank.
            verify: read all of it once and compare the checksums; otherwise `read` checks the images that it reads.

        Raises:
            FormatError: missing, truncated, or damaged; the message names file and image.
        """
        return cls._load(Path(path), CURRENT, verify)

    @classmethod
    def recover(cls, path: str | Path) -> tuple[Bank, str]:
        """Open the current generation or, if that is damaged, the one before.

        Returns:
            The bank, and the damage of the current generation, empty if there is none.

        Raises:
            FormatError: both are damaged; the message is about the current one.
        """
        path = Path(path)
        try:
            return cls.open(path), ""
        except FormatError as damage:
            try:
                bank = cls._load(path, PREVIOUS, verify=True)
            except FormatError:
                raise damage from None
            write_atomically(path / CURRENT, (path / PREVIOUS).read_bytes())
            return bank, f"{damage}; went back to generation {bank.generation}, which is sound"

    @classmethod
    def _load(cls, path: Path, description: str, verify: bool) -> Bank:
        layout, now = load(path, description, verify)
        bank = cls(path, layout.shape, layout.names, layout.nodes_per_image, layout.dtype, layout.counters)
        bank._now = bank._next = now
        bank._verified = verify
        return bank

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Return whether `path` holds a complete generation."""
        return (Path(path) / CURRENT).is_file()

    @property
    def generation(self) -> int:
        """Number of the current generation, 0 before the first."""
        return self._now.number

    @property
    def notes(self) -> dict[str, Any]:
        """The owner's notes on the current generation."""
        return self._now.notes

    @property
    def fingerprint(self) -> str:
        """A short text that changes with the content of the current generation."""
        return f"{self.shape} {self.dtype} {zlib.crc32(self._now.records.tobytes()):08x}"

    @property
    def records(self) -> np.ndarray:
        """The records of all images: of the draft if one is open. The owner may set its counters in the draft."""
        return self._next.records

    def view(self, name: str = "X") -> np.ndarray:
        """Return the current generation of an array, (nodes, channels), memory-mapped, read-only, no copy.

        It is float32, or bfloat16 of the package ml_dtypes; valid until the second `begin` or `revise` from now.
        """
        return np.memmap(self.file(self.generation, name), self.stored_dtype, "r", shape=self.shape)

    def tensor(self, name: str = "X") -> torch.Tensor:
        """Return `view` as a torch tensor, float32 or bfloat16, no copy; writing to it does not change the file."""
        import torch

        raw = np.memmap(self.file(self.generation, name), np.uint8, "c")
        kind = torch.float32 if self.dtype == "float32" else torch.bfloat16
        return torch.from_numpy(raw).view(kind).view(self.shape)

    def read(
        self, start: int | Sequence[int] | np.ndarray, stop: int | None = None, /, *, name: str = "X"
    ) -> np.ndarray:
        """Return rows of an array as float32, a copy: of the draft if one is open, else of the current generation.

        Args:
            start: the images, in any order; or the first image, with `stop`.
            stop: one past the last image.
            name: the array.

        Returns:
            (images * nodes_per_image, channels) float32.

        Raises:
            FormatError: an image is damaged; the message names it.
        """
        images = np.asarray(start, np.int64) if stop is None else np.arange(cast(int, start), stop)
        rows = self._rows(name)
        found = rows.read(images)
        if not (self._verified or self._draft):
            self.compare(self._now, name, images, rows.checksums_of(found))
        return found.astype(np.float32, copy=False)

    def prefetch(self, images: Sequence[int] | np.ndarray) -> None:
        """Ask the system to read these images of all arrays ahead of a `read`; returns at once."""
        for name in self.names:
            self._rows(name).prefetch(np.asarray(images, np.int64))

    def begin(self, resume: bool = False) -> Mapping[str, np.ndarray]:
        """Start the next generation, to be written in full, and return its arrays, writable and memory-mapped.

        Their content is arbitrary, but zeros in the first generation of a bank.

        Args:
            resume: keep the arrays that an interrupted process left, if `left_behind` finds them.

        Raises:
            DiskFullError: it does not fit; all generations are as they were.
        """
        self._start(resume)
        self._mapped = True
        return self._draft

    def revise(self) -> None:
        """Start the next generation as a copy of the current one; change it by `write`.

        Raises:
            DiskFullError: it does not fit; all generations are as they were.
        """
        reused = self._start(resume=False)
        for name in self.names:
            self.copy_rows(self._now, name, self._rows(name), name in reused)

    def join(self) -> None:
        """Open the draft that another process has made by `begin`; that process commits it."""
        self._close()
        self._open_draft()
        self._mapped = True

    def catch_up(self) -> None:
        """Take the generation that another process has committed as the current one.

        Raises:
            FormatError: it is missing or truncated.
        """
        self._close()
        _, self._now = load(self.path, CURRENT, verify=False)
        self._next, self._verified = self._now, False

    def left_behind(self) -> bool:
        """Return whether an interrupted process left the arrays of the next generation here."""
        return self.has_next(self._now)

    def write(self, images: Sequence[int] | np.ndarray, values: np.ndarray, name: str = "X") -> None:
        """Write rows of the draft; the system starts to write them to the disk at once, in the background.

        Args:
            images: in any order, none twice.
            values: (len(images) * nodes_per_image, channels).
            name: the array.
        """
        chosen = np.asarray(images, np.int64)
        self.records[f"crc_{name}"][chosen] = self._rows(name).write(chosen, values)
        self.records["written"][chosen] = self._next.number

    @property
    def drafting(self) -> bool:
        """Whether a draft is open: a generation that is begun and not committed."""
        return bool(self._draft)

    def draft(self, name: str = "X") -> np.ndarray:
        """Return an array of the draft."""
        return self._draft[name]

    def flush(self) -> None:
        """Force the draft to the disk, before its progress is noted elsewhere."""
        if self._mapped:
            for array in self._draft.values():
                array.flush()
        for name in self.names:
            self._rows(name).sync()

    def commit(self, **notes: Any) -> None:
        """Make the draft the current generation, with `notes` beside it; the one before stays as `previous`."""
        self.flush()
        if self._mapped:
            for name in self.names:
                self.records[f"crc_{name}"] = self._rows(name).checksums(np.arange(self.n_images))
            self.records["written"] = self._next.number
        if self.generation:
            write_atomically(self.path / PREVIOUS, (self.path / CURRENT).read_bytes())
        self._next.notes = notes
        self.save(self._next)
        self._close()
        self._now, self._verified = self._next, True
        self.remove_others({self.generation - 1, self.generation})

    def share(self, path: str | Path, **notes: Any) -> None:
        """Publish the current generation as a second bank with other notes; both have the files of the arrays.

        They are hard links; where the file system has none, they are copied.

        Args:
            path: folder of the second bank.
            notes: beside it.
        """
        other = Layout(path, self.shape, self.names, self.nodes_per_image, self.dtype, self.counters)
        other.path.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            link_or_copy(self.file(self.generation, name), other.file(self.generation, name))
        other.save(replace(self._now, notes=notes))

    def _start(self, resume: bool) -> set[str]:
        self._close()
        self._next = self._now
        reused = self.make_next_files(self._now, resume)
        self._open_draft()
        return reused

    def _open_draft(self) -> None:
        self._next = self.next_generation(self._now)
        for name in self.names:
            file = self.file(self._next.number, name)
            self._draft[name] = np.memmap(file, self.stored_dtype, "r+", shape=self.shape)

    def _rows(self, name: str) -> RowFile:
        if name not in self._open:
            self._open[name] = self.open_rows(self._next.number, name, writable=self.drafting)
        return self._open[name]

    def _close(self) -> None:
        """Close the row files and leave the draft."""
        for rows in self._open.values():
            rows.close()
        self._open, self._draft, self._mapped = {}, {}, False
