"""Reading the arrays of a block straight from its files.

A block is read again for every product that does not find it in memory, and it is small: through zarr most of the time
goes to finding out how an array is stored. It is stored as `GraphStore.write` does it, which this module reads by
itself: one dimension, little-endian chunks, each followed by its CRC-32C (Zarr v3, codecs "bytes" and "crc32c",
https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

_CRC_BYTES = 4


def read_block_files(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Return the attributes of a block and its arrays by name, or None where an array is stored in another way.

    Raises:
        FileNotFoundError: a chunk is missing.
        ValueError: a chunk or a description is damaged; the message names the file.
    """
    attributes = _description(folder)["attributes"]
    arrays = {}
    for file in folder.iterdir():
        if file.is_dir():
            array = _read_array(file)
            if array is None:
                return None
            arrays[file.name] = array
    return attributes, arrays


def _description(folder: Path) -> dict[str, Any]:
    file = folder / "zarr.json"
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return found


def _read_array(folder: Path) -> np.ndarray | None:
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
    out = np.empty(size, np.dtype(about["data_type"]))
    for index, start in enumerate(range(0, size, step)):
        file = folder / "c" / str(index)
        raw = np.fromfile(file, np.uint8)
        content, crc = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:].tobytes()
        if len(content) != step * out.itemsize or google_crc32c.value(content) != int.from_bytes(crc, "little"):
            raise ValueError(f"{file}: its checksum does not match")
        out[start : start + step] = content.view(out.dtype)[: size - start]
    return out
