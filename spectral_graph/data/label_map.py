"""Reading label maps: images whose pixel values are class numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from spectral_graph.data.images import decoding
from spectral_graph.data.labels import UNKNOWN
from spectral_graph.errors import ImageError

# What Pillow multiplies the values of a grey PNG of 2 or 4 bits by, to fill 0..255.
_GREY_SCALE = {"L;2": 85, "L;4": 17}


def read_index_map(path: Path) -> np.ndarray:
    """Read a single-channel label image: palette (the index, not its colour) or grey, 1 to 16 bits.

    Returns:
        (H, W) int32, the stored values.

    Raises:
        ImageError: the file is missing, damaged, or a colour image.
    """
    with decoding(path), Image.open(path) as image:
        if image.mode not in ("1", "L", "P", "I") and not image.mode.startswith("I;16"):
            raise ImageError(
                f"{path}: a label map must be a grey or palette image whose values are class numbers, "
                f"this one is of mode {image.mode}; take the map of class numbers, not the coloured picture of it"
            )
        # The tiles are gone once the pixels are loaded.
        packing = image.tile[0][3] if image.tile else None
        values = np.asarray(image).astype(np.int32)
        return values // _GREY_SCALE.get(packing, 1) if isinstance(packing, str) else values


def translate(values: np.ndarray, table: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Look up stored values in a class table.

    Args:
        values: (H, W) integers.
        table: (V,) int16: class id, IGNORED or UNKNOWN for each stored value.
        path: the file, for the message.
        name: the data set, for the message.

    Returns:
        (H, W) int16.

    Raises:
        ImageError: the map holds a value that the table does not know.
    """
    outside = (values < 0) | (values >= len(table))
    classes = table[np.where(outside, 0, values)]
    unknown = outside | (classes == UNKNOWN)
    if unknown.any():
        found = np.unique(values[unknown])
        listed = ", ".join(str(v) for v in found[:8]) + (", ..." if len(found) > 8 else "")
        raise ImageError(
            f"{path}: label value {listed} is none of {name} ({unknown.mean():.1%} of the pixels); "
            "check that this is the label map of that data set"
        )
    return classes
