"""Direct reading and writing of the files of a block.

A block is small and is read again for every product that does not find it in memory; with zarr most of that time is
spent on the description of the arrays. This module writes and reads the one form in which blocks are stored: one
dimension, little-endian chunks, each followed by its CRC-32C (Zarr v3, codecs "bytes" and "crc32c",
https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from spectral_graph.io.direct_read import read_direct
from spectral_graph.io.files import decode_json, write_atomically

_CRC_BYTES = 4


def read_block_files(folder: Path, cached: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Return the attributes of a block and its arrays by name, or None where an array is stored in another way.

    Args:
        folder: of the block.
        cached: whether the arrays may stay in the system's cache, for the next time.

    Raises:
        FileNotFoundError: a chunk is missing.
        ValueError: a chunk or a description is damaged; the message names the file.
    """
    attributes = _description(folder)["attributes"]
    arrays = {}
    for file in folder.iterdir():
        if file.is_dir():
            array = read_array(file, cached)
            if array is None:
                return None
            arrays[file.name] = array
    return attributes, arrays


def write_block_files(
    folder: Path, attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray], chunk: int
) -> None:
    """Write a block into an empty folder.

    Args:
        folder: which exists.
        attributes: of the block, as JSON holds them.
        arrays: one-dimensional, by name.
        chunk: elements of a chunk.
    """
    _describe(folder, _group(attributes))
    for name, array in arrays.items():
        _write_array(folder / name, array, max(1, min(chunk, len(array))))


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a folder a group; others see all of its description or nothing."""
    write_atomically(folder / "zarr.json", _json(_group(attributes)))


def _description(folder: Path) -> dict[str, Any]:
    file = folder / "zarr.json"
    found: dict[str, Any] = decode_json(file.read_bytes(), file, "recompute with `force=graph`")
    return found


def _group(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": dict(attributes), "zarr_format": 3, "node_type": "group"}


def _describe(folder: Path, about: Mapping[str, Any]) -> None:
    (folder / "zarr.json").write_bytes(_json(about))


def _json(about: Mapping[str, Any]) -> bytes:
    return json.dumps(about, indent=2, allow_nan=False).encode()


def _write_array(folder: Path, array: np.ndarray, step: int) -> None:
    chunks = folder / "c"
    chunks.mkdir(parents=True)
    stored = array.dtype.newbyteorder("<")
    for index, start in enumerate(range(0, len(array), step)):
        part = np.zeros(step, stored)
        part[: len(array) - start] = array[start : start + step]
        raw = part.tobytes()
        with (chunks / str(index)).open("wb") as file:
            file.write(raw)
            file.write(google_crc32c.value(raw).to_bytes(_CRC_BYTES, "little"))
    about = {
        "shape": [len(array)],
        "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [step]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": array.dtype.type(0).item(),
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "attributes": {},
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    _describe(folder, about)


def read_array(folder: Path, cached: bool) -> np.ndarray | None:
    """Return one array of a block, or None where it is stored in another way; see `read_block_files`."""
    about = _description(folder)
    codecs = [(codec["name"], codec.get("configuration", {}).get("endian", "little")) for codec in about["codecs"]]
    keys = about["chunk_key_encoding"]
    plain = (
        len(about["shape"]) == 1
        and about["chunk_grid"]["name"] == "regular"
        and (keys["name"], keys.get("configuration", {}).get("separator", "/")) == ("default", "/")
        and codecs == [("bytes", "little"), ("crc32c", "little")]
    )
    if not plain:
        return None
    (size,), (step,) = about["shape"], about["chunk_grid"]["configuration"]["chunk_shape"]
    dtype, starts = np.dtype(about["data_type"]), range(0, size, step)
    # Before memory is allocated, because a damaged description may name any size.
    for index, _ in enumerate(starts):
        file = folder / "c" / str(index)
        if file.stat().st_size != step * dtype.itemsize + _CRC_BYTES:
            raise ValueError(f"{file}: it has {file.stat().st_size} bytes, not {step} values of {dtype}")
    out = np.empty(size, dtype)
    for index, start in enumerate(starts):
        file = folder / "c" / str(index)
        raw = np.fromfile(file, np.uint8) if cached else read_direct(file)
        content, crc = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:].tobytes()
        if len(content) != step * out.itemsize or google_crc32c.value(content) != int.from_bytes(crc, "little"):
            raise ValueError(f"{file}: its checksum does not match")
        out[start : start + step] = content.view(out.dtype)[: size - start]
    return out
