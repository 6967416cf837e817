"""Reading a photo, whatever its format, and saying in words why it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from spectral_graph.errors import ImageError

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

    Grey, palette and CMYK images are converted, 16-bit grey keeps its high byte, transparent pixels are laid over
    white, and of a file with several frames the first is taken.

    Args:
        path: the file.
        upright: turn the photo as its EXIF orientation asks. False for photos with label maps: a label map is
            stored in the orientation of the file, not in the one a viewer shows.

    Returns:
        An image in mode RGB, in memory, independent of the file.

    Raises:
        ImageError: the file is missing, empty, truncated, damaged, too large or of an unknown format; the message
            names the file and the cause.
    """
    with decoding(path), Image.open(path) as image:
        image.load()
        turn = _UPRIGHT.get(_orientation(image)) if upright else None
        rgb = _to_rgb(image, path)
        return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageError that names the file, the cause and the cure."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise nearly any class
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


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are intact
        return 1


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{path}: the pixels are 32-bit numbers (mode {image.mode}) without a fixed range; convert it to 8-bit RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
