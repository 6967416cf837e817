"""The eigenvector bank: node-by-channel arrays in raw files, in generations.

    X.3.f32        (nodes, channels), row-major; 3 is the generation; .bf16 for bfloat16
    images.3.npy   one record an image: when it was written last, a CRC-32 for each array, the owner's counters
    bank.json      shape, dtype, generation, and what the owner notes beside it
    previous.json  the same of the generation before, as long as that one lies here too

A generation is written aside and becomes current when bank.json is renamed into place: a crash at any instant
leaves the last complete generation. The one before stays until the next is begun, which takes over its files: so
a revision copies only the images that differ, and the disk holds two generations, never three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from spectral_graph.bank.described import Described
from spectral_graph.bank.generation import CURRENT, PREVIOUS, Generation
from spectral_graph.bank.rows import RowFile, storage_dtype
from spectral_graph.bank.succession import complete, left_behind, next_of, records_after, remove_others, start_next
from spectral_graph.errors import FormatError
from spectral_graph.io.files import write_atomically

if TYPE_CHECKING:
    import torch


class Bank(Described):
    """Named arrays (nodes, channels) on disk.

    Args:
        path: its folder.
        shape: (nodes, channels).
        names: the arrays, e.g. ("X",) or ("X", "m", "v").
        nodes_per_image: rows of one image.
        dtype: how they are stored, float32 or bfloat16.
        counters: names of int64 numbers that the owner keeps for each image; see `records`.
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
        storage_dtype(dtype)
        if shape[0] % nodes_per_image:
            raise FormatError(f"a bank of {shape[0]} nodes does not divide into images of {nodes_per_image} nodes")
        self.path = Path(path)
        self._is = Generation(0, shape, nodes_per_image, dtype, tuple(names), tuple(counters))
        self._next = self._is
        self._draft: dict[str, np.memmap[Any, Any]] = {}
        self._open: dict[str, RowFile] = {}
        self._whole = False
        self._trusted = True

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Bank:
        """Open the last complete generation.

        Args:
            path: folder of the bank.
            verify: read all of it once and compare the checksums; otherwise `read` checks the images that it reads.

        Raises:
            FormatError: missing, truncated, or damaged; the message names file and image.
        """
        return cls._of(Path(path), CURRENT, verify)

    @classmethod
    def recover(cls, path: str | Path) -> tuple[Bank, str]:
        """Open the last sound generation: the current one or, if that is damaged, the one before.

        Returns:
            The bank, and what was wrong with the current generation, empty if nothing.

        Raises:
            FormatError: neither is sound; the message is about the current one.
        """
        path = Path(path)
        try:
            return cls.open(path), ""
        except FormatError as damage:
            try:
                bank = cls._of(path, PREVIOUS, verify=True)
            except FormatError:
                raise damage from None
            write_atomically(path / CURRENT, (path / PREVIOUS).read_bytes())
            return bank, f"{damage}; went back to generation {bank.generation}, which is sound"

    @classmethod
    def _of(cls, path: Path, description: str, verify: bool) -> Bank:
        found = Generation.load(path, description, verify)
        bank = cls(path, found.shape, found.names, found.nodes_per_image, found.dtype, found.counters)
        bank._is, bank._trusted = found, verify
        return bank

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Tell whether a complete generation lies in `path`."""
        return (Path(path) / CURRENT).is_file()

    @property
    def records(self) -> np.ndarray:
        """The records of all images: of the draft, where one was begun. The owner may set its counters in the draft."""
        return self._next.records if self._draft else self._is.records

    def view(self, name: str = "X") -> np.ndarray:
        """Return the current generation of an array, (nodes, channels), memory-mapped, read-only, no copy.

        It is float32, or bfloat16 of the package ml_dtypes; valid until the second `begin` or `revise` from now.
        """
        return np.memmap(self._is.file(self.path, name), storage_dtype(self.dtype), "r", shape=self.shape)

    def tensor(self, name: str = "X") -> torch.Tensor:
        """Return `view` as a torch tensor, float32 or bfloat16, no copy; writing to it does not change the file."""
        import torch

        raw = np.memmap(self._is.file(self.path, name), np.uint8, "c")
        kind = torch.float32 if self.dtype == "float32" else torch.bfloat16
        return torch.from_numpy(raw).view(kind).view(self.shape)

    @overload
    def read(self, start: int, stop: int, /, *, name: str = "X") -> np.ndarray: ...

    @overload
    def read(self, images: Sequence[int] | np.ndarray, /, *, name: str = "X") -> np.ndarray: ...

    def read(self, start: Any, stop: int | None = None, /, *, name: str = "X") -> np.ndarray:
        """Return rows of an array as float32, a copy: of the draft where one was begun, else of this generation.

        Args:
            start: the images, in any order; or the first image, with `stop`.
            stop: one past the last image.
            name: the array.

        Returns:
            (images * nodes_per_image, channels) float32.

        Raises:
            FormatError: an image is damaged; the message names it.
        """
        images = np.arange(start, stop) if stop is not None else np.asarray(start, np.int64)
        rows = self._rows(name)
        found = rows.read(images)
        if not (self._trusted or self._draft):
            self._is.compare(self.path, name, images, rows.checksums_of(found))
        return found.astype(np.float32, copy=False)

    def prefetch(self, images: Sequence[int] | np.ndarray) -> None:
        """Ask the system to read these images of all arrays ahead of a `read`; returns at once."""
        for name in self.names:
            self._rows(name).prefetch(np.asarray(images, np.int64))

    def begin(self, resume: bool = False) -> Mapping[str, np.ndarray]:
        """Start the next generation, to be written in full, and return its arrays, writable and memory-mapped.

        Their content is arbitrary, but zeros in the first generation of a bank.

        Args:
            resume: take up the arrays that an interrupted process left, where `left_behind` finds them.

        Raises:
            DiskFullError: it does not fit; nothing has changed then.
        """
        self._start(resume)
        self._whole = True
        return self._draft

    def revise(self) -> None:
        """Start the next generation as a copy of the current one; change it by `write`.

        Raises:
            DiskFullError: it does not fit; nothing has changed then.
        """
        taken = self._start(resume=False)
        self._whole = False
        for name in self.names:
            complete(self.path, self._is, name, self._rows(name), name in taken)

    def join(self) -> None:
        """Write to the generation that another process has begun in full; that process commits it."""
        self._close()
        self._next, self._whole = next_of(self._is), True
        self._next.records = records_after(self._is)
        self._map_draft()

    def catch_up(self) -> None:
        """Take the generation that another process has committed as the current one.

        Raises:
            FormatError: it is missing or truncated.
        """
        self._close()
        self._is, self._draft, self._trusted = Generation.load(self.path, CURRENT, verify=False), {}, False

    def left_behind(self) -> bool:
        """Tell whether an interrupted process left the arrays of the next generation here."""
        return left_behind(self.path, self._is)

    def write(self, images: Sequence[int] | np.ndarray, values: np.ndarray, name: str = "X") -> None:
        """Write rows of the draft; the disk starts on them at once, in the background.

        Args:
            images: which, in any order, none twice.
            values: (len(images) * nodes_per_image, channels).
            name: the array.
        """
        chosen = np.asarray(images, np.int64)
        self.records[f"crc_{name}"][chosen] = self._rows(name).write(chosen, values)
        self.records["written"][chosen] = self._next.number

    @property
    def drafting(self) -> bool:
        """Whether a generation was begun and not yet committed."""
        return bool(self._draft)

    def draft(self, name: str = "X") -> np.ndarray:
        """Return an array of the generation begun and not yet committed."""
        return self._draft[name]

    def flush(self) -> None:
        """Force the draft to the disk, before it is noted elsewhere how far it came."""
        if self._whole:
            for array in self._draft.values():
                array.flush()
        for name in self.names:
            self._rows(name).sync()

    def commit(self, **notes: Any) -> None:
        """Make the generation begun the current one, with `notes` beside it; the one before stays as `previous`."""
        self.flush()
        if self._whole:
            for name in self.names:
                self.records[f"crc_{name}"] = self._rows(name).checksums(np.arange(self.n_images))
            self.records["written"] = self._next.number
        if self.generation:
            write_atomically(self.path / PREVIOUS, (self.path / CURRENT).read_bytes())
        self._next.notes = notes
        self._next.save(self.path)
        self._close()
        self._is, self._draft, self._trusted = self._next, {}, True
        remove_others(self.path, self.names, {self.generation - 1, self.generation})

    def _start(self, resume: bool) -> set[str]:
        self._close()
        self._draft = {}
        self._next, taken = start_next(self.path, self._is, resume)
        self._map_draft()
        return taken

    def _map_draft(self) -> None:
        dtype = storage_dtype(self.dtype)
        for name in self.names:
            self._draft[name] = np.memmap(self._next.file(self.path, name), dtype, "r+", shape=self.shape)

    def _rows(self, name: str) -> RowFile:
        if name not in self._open:
            of = self._next if self._draft else self._is
            self._open[name] = of.rows(self.path, name, writable=bool(self._draft))
        return self._open[name]

    def _close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
