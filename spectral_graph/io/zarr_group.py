"""Zarr groups that anyone may have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import zarr

from spectral_graph.errors import FormatError
from spectral_graph.io.files import decode_json

ATTRIBUTES = "spectral_graph"
"""The attribute in which each store of a run describes itself."""


def open_described(path: Path, mode: Literal["r", "r+"], missing: str, cure: str) -> tuple[zarr.Group, Any]:
    """Open a group of Zarr format 3; return it and its attribute `ATTRIBUTES`, which the caller must check.

    Only format 3 is read: the codecs of format 2 include some that run code from the file.

    Args:
        path: folder of the group.
        mode: to read, or to read and write.
        missing: says after the path that there is no such group, for the message.
        cure: for the message.

    Raises:
        FormatError: there is no such group, or it is damaged.
    """
    file = path / "zarr.json"
    try:
        decode_json(file.read_bytes(), file, cure)  # zarr limits neither nesting nor numbers
        group = zarr.open_group(path, mode=mode, zarr_format=3)
        return group, group.attrs[ATTRIBUTES]
    except (FileNotFoundError, NotADirectoryError, KeyError) as error:
        raise FormatError(f"{path} {missing} ({error}); {cure}") from None
    except (OSError, FormatError):
        raise
    except Exception as error:  # zarr does not check its files and fails in many ways
        raise FormatError(f"{path} {missing} ({error}); {cure}") from None
