"""Reading photos of any format, with messages that name the cause and the cure of a failure."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from spectral_graph.errors import ImageError

# The names of 16-bit RGB in the two byte orders, of which Pillow keeps the high byte.
_SWAPPED = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGB;16N": f"RGB;16{'B' if sys.byteorder == 'little' else 'L'}"}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# EXIF tag 0x0112 (orientation) and the transposition that undoes each of its values: EXIF 2.32, section 4.6.4.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path, *, upright: bool = False) -> Image.Image:
    """Decode a photo completely and return it as 8-bit RGB.

    Grey, palette and CMYK images are converted, transparent pixels are laid over white, and of a file with several
    frames the first is taken. 16-bit images (grey, or RGB without transparency) may hold fewer bits: the smallest of
    8, 10, 12, 14 and 16 bits that holds the largest value counts as the full range, and its 8 high bits are kept. So a
    16-bit image whose values all lie below 2^14 becomes brighter.

    Args:
        path: the file.
        upright: apply the EXIF orientation. False for photos with label maps: a label map is stored in the
            orientation of the file, not in the one a viewer shows.

    Returns:
        An image in mode RGB, in memory, independent of the file.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large or of an unknown format; the message
            names the file and the cause.
    """
    with decoding(path), Image.open(path) as image:
        swapped = _SWAPPED.get(raw_mode(image))  # gone once the pixels are loaded
        image.load()
        turn = _UPRIGHT.get(orientation(image)) if upright else None
        rgb = _to_rgb(image, path)
        if swapped is not None and rgb.mode == image.mode and np.asarray(rgb).max(initial=0) < 1 << 6:
            rgb = _low_bits(rgb, path, swapped)
        return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Convert every exception of a decoder to an ImageError that names the file, the cause and the cure.

    A file that is not regular is refused before it is opened: opening a pipe without a writer blocks.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG:
            raise ImageError(f"{path}: this is {_KINDS.get(kind, 'no regular file')}; put the file itself in its place")
        yield
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly any class for damaged files
        raise ImageError(f"{path}: {_cause(path, error)}") from error


def _cause(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file; put it in place, or take it off the list"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"the image is too large to be decoded safely ({error}); make it smaller"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it; make the image smaller"
    if isinstance(error, OSError) and error.errno is not None:
        return f"the file cannot be read ({error.strerror}); correct that, or take it off the list"
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty (0 bytes); fetch it again"
    if isinstance(error, UnidentifiedImageError):
        return "this is not an image of a known format; fetch it again, or convert it to JPEG or PNG"
    why = str(error) or type(error).__name__
    return f"the image cannot be decoded ({why}); fetch it again, or convert it to 8-bit RGB"


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 (upright) where it has none."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are intact
        return 1


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(_to_8_bits(np.asarray(image).astype(np.uint16))).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{path}: the pixels are 32-bit numbers (mode {image.mode}) without a fixed range; convert it to 8-bit RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Return the 8 high bits of uint16 values, of as many bits as the largest of them needs: 8, 10, 12, 14 or 16."""
    largest = int(values.max(initial=0))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


def raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the packing of the pixels of an unloaded image, e.g. ``L;4``; empty if unknown."""
    tile = getattr(image, "tile", None)
    found = tile[0][3] if tile else ""
    found = found[0] if isinstance(found, tuple) and found else found
    return found if isinstance(found, str) else ""


def _low_bits(high: Image.Image, path: Path, swapped: str) -> Image.Image:
    """Return 8 bits of a 16-bit RGB image of which Pillow gave the high bytes alone.

    Read in the other byte order, `swapped`, Pillow gives the low bytes.
    """
    with Image.open(path) as image:
        image.tile = [
            tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped)
            for tile in image.tile
        ]
        image.load()
        low = np.asarray(image)
    return Image.fromarray(_to_8_bits(np.asarray(high).astype(np.uint16) << 8 | low))
