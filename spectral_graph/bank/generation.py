"""What is known about one generation of a bank: bank.json and the record of every image."""

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

from spectral_graph.bank.rows import SUFFIXES, RowFile, recompute, storage_dtype
from spectral_graph.errors import FormatError
from spectral_graph.io.files import read_json, write_atomically, write_json
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


def record_dtype(names: Sequence[str], counters: Sequence[str]) -> np.dtype[Any]:
    """Return the dtype of an image's record: when it was written, a CRC-32 for each array, the owner's counters."""
    fields = [("written", "<i8"), *((f"crc_{name}", "<u4") for name in names), *((name, "<i8") for name in counters)]
    return np.dtype(fields)


@dataclass
class Generation:
    """One complete generation.

    Attributes:
        number: from 1; 0 for a bank that holds nothing yet.
        shape: (nodes, channels).
        nodes_per_image: rows of an image.
        dtype: float32 or bfloat16.
        names: the arrays.
        counters: names of the owner's numbers beside each image.
        notes: whatever the owner notes beside it.
        records: (images,) with the fields of `record_dtype`.
    """

    number: int
    shape: tuple[int, int]
    nodes_per_image: int
    dtype: str
    names: tuple[str, ...]
    counters: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    records: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def bytes(self) -> int:
        """Size of one array."""
        return self.shape[0] * self.shape[1] * storage_dtype(self.dtype).itemsize

    def file(self, folder: Path, name: str) -> Path:
        """Return where an array of this generation lies."""
        return folder / f"{name}.{self.number}.{SUFFIXES[self.dtype]}"

    def rows(self, folder: Path, name: str, writable: bool = False) -> RowFile:
        """Open an array."""
        shape = (self.nodes_per_image, self.shape[1])
        return RowFile(self.file(folder, name), shape, storage_dtype(self.dtype), writable)

    def save(self, folder: Path) -> None:
        """Make this the current generation: the records first, bank.json last, each by a rename."""
        buffer = io.BytesIO()
        np.save(buffer, self.records)
        raw = buffer.getvalue()
        write_atomically(folder / f"images.{self.number}.npy", raw)
        about = {
            "format": FORMAT,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "nodes_per_image": self.nodes_per_image,
            "generation": self.number,
            "arrays": list(self.names),
            "counters": list(self.counters),
            "records": {"file": f"images.{self.number}.npy", "crc32": zlib.crc32(raw)},
            "notes": self.notes,
        }
        write_json(folder / CURRENT, about)

    @classmethod
    def load(cls, folder: Path, description: str, verify: bool) -> Generation:
        """Read the description of a generation and check the sizes of its files.

        Args:
            folder: of the bank.
            description: name of the file.
            verify: read everything once and compare the checksums.

        Raises:
            FormatError: missing, truncated, damaged, or of another format; the message names file and image.
        """
        path = folder / description
        if not path.is_file():
            raise FormatError(f"{folder} holds no bank (no {description}); compute it with: spectral-graph solve")
        cure = recompute(folder)
        about = read_json(path, cure)
        if isinstance(about, dict) and about.get("format", FORMAT) != FORMAT:
            raise FormatError(f"{path} has format {about['format']!r}, this version reads {FORMAT}; {cure}")
        about = validated(about, _FORM, path, cure)
        nodes, channels = about["shape"]
        names, counters = tuple(about["arrays"]), tuple(about["counters"])
        records = _load_records(folder / about["records"]["file"], about["records"]["crc32"])
        found = cls(
            about["generation"],
            (nodes, channels),
            about["nodes_per_image"],
            about["dtype"],
            names,
            counters,
            about["notes"],
            records,
        )
        images = nodes // found.nodes_per_image
        if nodes % found.nodes_per_image or (records.dtype, records.shape) != (
            record_dtype(names, counters),
            (images,),
        ):
            raise FormatError(f"{folder / about['records']['file']} does not fit {path}; {cure}")
        for name in names:
            file = found.file(folder, name)
            size = file.stat().st_size if file.is_file() else -1
            if size != found.bytes:
                raise FormatError(
                    f"{file} has {max(size, 0)} bytes, expected {found.bytes}: it is truncated or missing; {cure}"
                )
            if verify:
                every = np.arange(images)
                found.compare(folder, name, every, found.rows(folder, name).checksums(every))
        return found

    def compare(self, folder: Path, name: str, images: np.ndarray, found: np.ndarray) -> None:
        """Raise FormatError if the checksums `found` of `images` are not those recorded."""
        wrong = images[found != self.records[f"crc_{name}"][images]]
        if len(wrong):
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            raise FormatError(
                f"{self.file(folder, name)} is damaged: the checksum of image {wrong[0]}{more} differs; "
                f"{recompute(folder)}"
            )


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
