"""Reading label maps: images whose pixel values are class numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from spectral_graph.data.images import decoding, raw_mode
from spectral_graph.data.labels import UNKNOWN
from spectral_graph.errors import ImageError

# What Pillow multiplies the values of a grey image of 2 or 4 bits by, to fill 0..255.
_GREY_SCALE = {"L;2": 85, "L;2R": 85, "L;4": 17, "L;4R": 17}
_FORMATS = ("PNG", "TIFF", "BMP")
"""JPEG and WebP change values as they compress; writers of GIF renumber them; readers of PGM scale them."""
_TIFF_PHOTOMETRIC = 262
_TIFF_WHITE_IS_ZERO = 0


def read_index_map(path: Path) -> np.ndarray:
    """Read a single-channel label image: palette (the index, not its colour) or grey, 1 to 32 bits.

    Numbers of 32 bits count as signed; floating-point numbers must be whole.

    Returns:
        (H, W) int32, the stored values.

    Raises:
        ImageError: the file is missing, damaged, a colour image, or of a kind that does not keep class numbers.
    """
    with open_label(path) as image:
        _require_class_numbers(image, path)
        # The tiles are gone once the pixels are loaded.
        scale = _GREY_SCALE.get(raw_mode(image), 1)
        values = np.asarray(image)
        if image.mode == "F":
            return _whole(values, path)
        return values.astype(np.int32) // scale


@contextmanager
def open_label(path: Path) -> Iterator[ImageFile]:
    """Open the file of a label map; ImageError if it is missing, damaged, or no regular file."""
    with decoding(path), Image.open(path) as image:
        yield image


def _require_class_numbers(image: ImageFile, path: Path) -> None:
    if image.format not in _FORMATS:
        raise ImageError(
            f"{path}: this is a {image.format} file, and that format does not keep class numbers; export the label "
            f"map again as {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        )
    if image.mode not in ("1", "L", "P", "I", "F") and not image.mode.startswith("I;16"):
        raise ImageError(
            f"{path}: a label map must be a grey or palette image whose values are class numbers, "
            f"this one is of mode {image.mode}; take the map of class numbers, not the coloured picture of it"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"{path}: a label map is one picture, this file has several; save the one that counts")
    tags = getattr(image, "tag_v2", {})
    if image.mode in ("1", "L") and tags.get(_TIFF_PHOTOMETRIC) == _TIFF_WHITE_IS_ZERO:
        raise ImageError(f"{path}: this TIFF stores white as 0, so its values are not class numbers; save it as PNG")


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    finite = np.isfinite(values)
    if not finite.all() or (np.abs(values) >= 2**31).any() or (values != np.round(values)).any():
        raise ImageError(
            f"{path}: a label map holds whole class numbers, this one holds fractions, NaN or values beyond 32 bits; "
            "save the class numbers as integers"
        )
    return values.astype(np.int32)


def look_up(values: np.ndarray, stored: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look up (H, W) integers in `stored`, (S,) ascending, S > 0.

    Returns:
        (H, W) the entries of `classes`, (S,), and (H, W) bool: whether `stored` holds the value.
    """
    place = np.minimum(np.searchsorted(stored, values), len(stored) - 1)
    return classes[place], stored[place] == values


def translate(values: np.ndarray, table: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Look up (H, W) integers in a (V,) int16 table of class ids; `path` and the data set `name` are for the message.

    Returns:
        (H, W) int16.

    Raises:
        ImageError: a value lies outside the table, or is UNKNOWN in it.
    """
    outside = (values < 0) | (values >= len(table))
    classes = table[np.where(outside, 0, values)]
    unknown = outside | (classes == UNKNOWN)
    if unknown.any():
        raise ImageError(unknown_value(values, unknown, path, name))
    return classes


def unknown_value(values: np.ndarray, unknown: np.ndarray, path: Path, name: str) -> str:
    """Return the message for the label values `values[unknown]`, at least one, that the data set `name` lacks."""
    found = np.unique(values[unknown])
    listed = ", ".join(str(v) for v in found[:8]) + (", ..." if len(found) > 8 else "")
    return (
        f"{path}: label value {listed} is none of {name} ({unknown.mean():.1%} of the pixels); "
        "check that this is the label map of that data set"
    )
