"""The files of one generation of a bank, and the step from one generation to the next."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.bank.rows import READ_BYTES, SUFFIXES, RowFile, recompute, storage_dtype
from spectral_graph.errors import FormatError
from spectral_graph.io.files import (
    allocate,
    read_json,
    remove,
    reporting_full_disk,
    require_space,
    sync_folder,
    write_atomically,
    write_json,
)
from spectral_graph.io.inside import PlainName, distinct, shown
from spectral_graph.io.validation import validated

FORMAT = 2
CURRENT, PREVIOUS = "bank.json", "previous.json"
_Positive = Annotated[int, Field(gt=0, lt=2**62)]
_Word = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
_Words = Annotated[list[_Word], AfterValidator(distinct)]


class _Records(TypedDict):
    file: PlainName
    crc32: Annotated[int, Field(ge=0, lt=2**32)]


class _Description(TypedDict):
    format: int
    shape: Annotated[list[_Positive], Field(min_length=2, max_length=2)]
    dtype: Literal["float32", "bfloat16"]
    nodes_per_image: _Positive
    generation: _Positive
    arrays: Annotated[_Words, Field(min_length=1)]
    counters: _Words
    records: _Records
    notes: dict[str, Any]


def _consistent(about: _Description) -> _Description:
    if about["records"]["file"] != f"images.{about['generation']}.npy":
        raise ValueError(f"records are in {shown(about['records']['file'])}, not in those of this generation")
    distinct(["written", *(f"crc_{name}" for name in about["arrays"]), *about["counters"]])
    return about


_FORM: TypeAdapter[_Description] = TypeAdapter(Annotated[_Description, AfterValidator(_consistent)])


@dataclass
class Generation:
    """The part of a bank that a new generation changes.

    Attributes:
        number: from 1; 0 for a bank without a complete generation.
        notes: stored by the owner.
        records: (images,) with the fields of `Layout.record_dtype`; empty in generation 0.
    """

    number: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    records: np.ndarray = field(default_factory=lambda: np.zeros(0))


class Layout:
    """The part of a bank that all generations share; see `Bank` for the arguments."""

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int],
        names: Sequence[str],
        nodes_per_image: int,
        dtype: str = "float32",
        counters: Sequence[str] = (),
    ) -> None:
        self.stored_dtype = storage_dtype(dtype)
        if shape[0] % nodes_per_image:
            raise FormatError(f"a bank of {shape[0]} nodes does not divide into images of {nodes_per_image} nodes")
        self.path, self.shape, self.names = Path(path), shape, tuple(names)
        self.nodes_per_image, self.dtype, self.counters = nodes_per_image, dtype, tuple(counters)
        self.n_images, self.channels = shape[0] // nodes_per_image, shape[1]
        self.array_bytes = shape[0] * shape[1] * self.stored_dtype.itemsize

    @property
    def record_dtype(self) -> np.dtype[Any]:
        """Of an image's record: the generation that wrote it last, a CRC-32 for each array, the owner's counters."""
        crcs = [(f"crc_{name}", "<u4") for name in self.names]
        return np.dtype([("written", "<i8"), *crcs, *((name, "<i8") for name in self.counters)])

    def file(self, number: int, name: str) -> Path:
        """Return the path of an array of a generation."""
        return self.path / f"{name}.{number}.{SUFFIXES[self.dtype]}"

    def open_rows(self, number: int, name: str, writable: bool = False) -> RowFile:
        """Open an array of a generation."""
        return RowFile(self.file(number, name), (self.nodes_per_image, self.channels), self.stored_dtype, writable)

    def save(self, new: Generation) -> None:
        """Make a generation the current one: publish the records first, bank.json last."""
        buffer = io.BytesIO()
        np.save(buffer, new.records)
        raw = buffer.getvalue()
        records = f"images.{new.number}.npy"
        write_atomically(self.path / records, raw)
        about = {
            "format": FORMAT,
            "shape": self.shape,
            "dtype": self.dtype,
            "nodes_per_image": self.nodes_per_image,
            "generation": new.number,
            "arrays": self.names,
            "counters": self.counters,
            "records": {"file": records, "crc32": zlib.crc32(raw)},
            "notes": new.notes,
        }
        write_json(self.path / CURRENT, about)

    def compare(self, now: Generation, name: str, images: np.ndarray, found: np.ndarray) -> None:
        """Raise FormatError if the checksums `found` of `images` are not those recorded."""
        wrong = images[found != now.records[f"crc_{name}"][images]]
        if len(wrong):
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise FormatError(
                f"{self.file(now.number, name)} is damaged: the checksum of image {wrong[0]}{more} differs; "
                f"{recompute(self.path)}"
            )

    def has_next(self, now: Generation) -> bool:
        """Return whether an interrupted process left the arrays of the generation after `now`."""
        files = [self.file(now.number + 1, name) for name in self.names]
        return all(file.is_file() and file.stat().st_size == self.array_bytes for file in files)

    def next_generation(self, now: Generation) -> Generation:
        """Return the generation after `now`, with its records."""
        records = now.records.copy() if now.number else np.zeros(self.n_images, self.record_dtype)
        return Generation(now.number + 1, {}, records)

    def make_next_files(self, now: Generation, resume: bool) -> set[str]:
        """Make the array files of the generation after `now`, or rename those of the one before.

        Args:
            now: the current generation.
            resume: keep the files that an interrupted process left, if all are there.

        Returns:
            The arrays whose files were those of the generation before `now`.

        Raises:
            DiskFullError: they do not fit; all generations are as they were.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        old, new = ({name: self.file(now.number + step, name) for name in self.names} for step in (-1, 1))
        keep = resume and self.has_next(now)
        if not keep:
            self.remove_others({now.number - 1, now.number})
        reused = {name for name in self.names if not keep and old[name].is_file()}
        missing = [new[name] for name in self.names if not keep and name not in reused]
        require_space(self.path, self.array_bytes * len(missing), f"the bank {self.path}")
        try:
            for file in missing:
                with reporting_full_disk(self.path), file.open("wb") as handle:
                    allocate(handle, self.array_bytes)
        except BaseException:
            for file in missing:
                remove(file)
            raise
        if reused:
            remove(self.path / PREVIOUS)
        for name in reused:
            old[name].replace(new[name])
        # From here on the old content may change, so its name must not return after a loss of power.
        sync_folder(self.path)
        return reused

    def copy_rows(self, now: Generation, name: str, target: RowFile, reused: bool) -> None:
        """Copy an array of `now` to the next generation: all images, or those that a `reused` file lacks."""
        source = self.open_rows(now.number, name)
        images = np.flatnonzero(now.records["written"] == now.number) if reused else np.arange(self.n_images)
        step = max(1, READ_BYTES * self.n_images // self.array_bytes)
        for at in range(0, len(images), step):
            part = images[at : at + step]
            target.write(part, source.read(part))
        source.close()

    def remove_others(self, kept: set[int]) -> None:
        """Remove the files of all generations but `kept`; files of other names stay."""
        arrays = [f"{name}.*.{suffix}" for name in self.names for suffix in SUFFIXES.values()]
        for pattern in (*arrays, "images.*.npy"):
            for file in self.path.glob(pattern):
                number = file.name.split(".")[-2]
                if number.isdigit() and int(number) not in kept:
                    remove(file)


def load(folder: Path, description: str, verify: bool) -> tuple[Layout, Generation]:
    """Read the description of a generation and check the sizes of its files.

    Args:
        folder: of the bank.
        description: name of the file, `CURRENT` or `PREVIOUS`.
        verify: read everything once and compare the checksums.

    Raises:
        FormatError: missing, truncated, damaged, or of another format; the message names file and image.
    """
    file, cure = folder / description, recompute(folder)
    if not file.is_file():
        raise FormatError(f"{folder} holds no bank (no {description}); compute it with: spectral-graph solve")
    about = read_json(file, cure)
    if isinstance(about, dict) and about.get("format", FORMAT) != FORMAT:
        raise FormatError(f"{file} has format {shown(about['format'])}, this version reads {FORMAT}; {cure}")
    about = validated(about, _FORM, file, cure)
    records = folder / about["records"]["file"]
    now = Generation(about["generation"], about["notes"], _load_records(records, about["records"]["crc32"]))
    (nodes, channels), per_image = about["shape"], about["nodes_per_image"]
    if nodes % per_image:
        raise FormatError(f"{records} does not fit {file}; {cure}")
    layout = Layout(folder, (nodes, channels), about["arrays"], per_image, about["dtype"], about["counters"])
    if (now.records.dtype, now.records.shape) != (layout.record_dtype, (layout.n_images,)):
        raise FormatError(f"{records} does not fit {file}; {cure}")
    for name in layout.names:
        array = layout.file(now.number, name)
        size = array.stat().st_size if array.is_file() else 0
        if size != layout.array_bytes:
            raise FormatError(
                f"{array} has {size} bytes, expected {layout.array_bytes}: it is truncated or missing; {cure}"
            )
        if verify:
            images = np.arange(layout.n_images)
            layout.compare(now, name, images, layout.open_rows(now.number, name).checksums(images))
    return layout, now


def _load_records(path: Path, checksum: int) -> np.ndarray:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"{path} is missing; {recompute(path.parent)}") from None
    if zlib.crc32(raw) != checksum:
        raise FormatError(f"{path} is damaged: its checksum differs; {recompute(path.parent)}")
    try:
        records: np.ndarray = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, OverflowError, MemoryError) as error:
        raise FormatError(f"{path} is damaged ({error}); {recompute(path.parent)}") from None
    return records
