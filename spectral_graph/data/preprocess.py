"""Cropping and resizing of photos to the network's input, and of label maps to the same part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from spectral_graph.errors import ConfigError, ImageError

Size = tuple[int, int]
Box = tuple[int, int, int, int]

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the network sees it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        box: (left, top, right, bottom) in pixels of the source, right and bottom exclusive: the part of the source
            that `pixels` shows, exactly.
        source_size: (height, width) of the source in pixels.
    """

    pixels: np.ndarray
    box: Box
    source_size: Size


@dataclass(frozen=True)
class Preprocess:
    """Geometry and resampling of the network's input.

    Attributes:
        kind: ``crop``: the minor edge becomes `size`, then the central size x size is cut out, at the offset
            round((length - size) / 2) (PiCIE and STEGO); ``resize``: the whole image becomes `size`, whatever its
            aspect ratio.
        size: (height, width) in pixels; equal for ``crop``.
        resample: ``bilinear`` (antialiased, as PiCIE) or ``nearest`` (as STEGO).

    Raises:
        ConfigError: a value that cannot be used.
    """

    kind: Literal["crop", "resize"] = "crop"
    size: Size = (320, 320)
    resample: Literal["bilinear", "nearest"] = "bilinear"

    def __post_init__(self) -> None:
        if self.kind not in ("crop", "resize"):
            raise ConfigError(f"preprocess {self.kind!r} is unknown; use crop or resize")
        if self.resample not in _RESAMPLING:
            raise ConfigError(f"resample {self.resample!r} is unknown; use bilinear or nearest")
        if min(self.size) < 1:
            raise ConfigError(f"size {self.size[0]}x{self.size[1]} has no pixel; use 1 or more for both sides")
        if self.kind == "crop" and self.size[0] != self.size[1]:
            raise ConfigError(
                f"`size={self.size[0]}x{self.size[1]}` does not go with `preprocess=crop`, which cuts a square; "
                "give one number, or use `preprocess=resize`"
            )

    def target_size(self) -> Size:
        """Return (height, width) before rounding to whole patches."""
        return self.size

    def source_box(self, source_size: Size) -> Box:
        """Return the part of an image of `source_size` (height, width) that the network sees.

        Returns:
            (left, top, right, bottom) in whole source pixels: the edges of the crop in the resized image, mapped
            back and rounded to the nearest pixel. At least one pixel each way, and inside the image.
        """
        height, width = source_size
        if self.kind == "resize":
            return 0, 0, width, height
        side = self.size[0]
        short = min(height, width)
        left, right = _centre(width, side * width // short, side)
        top, bottom = _centre(height, side * height // short, side)
        return left, top, right, bottom

    def __call__(self, image: Image.Image, network_size: Size) -> Prepared:
        """Crop and resize in one resampling step.

        Args:
            image: the photo, of any mode.
            network_size: (height, width) in pixels: `target_size` in whole patches.
        """
        source_size = (image.height, image.width)
        box = self.source_box(source_size)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        resized = rgb.resize((network_size[1], network_size[0]), _RESAMPLING[self.resample], box=box)
        return Prepared(np.array(resized), box, source_size)


def _centre(length: int, resized: int, side: int) -> tuple[int, int]:
    """Return first and last + 1 source pixel under [offset, offset + side) of an axis resized from `length`."""
    offset = round((resized - side) / 2)
    first = (2 * offset * length + resized) // (2 * resized)
    last = (2 * (offset + side) * length + resized) // (2 * resized)
    first = min(first, length - 1)
    return first, max(last, first + 1)


def crop_label(label: np.ndarray, box: Box, source_size: Size) -> np.ndarray:
    """Cut the part of a label map that the network saw.

    Args:
        label: (H, W), at the photo's resolution or a scaled one.
        box: (left, top, right, bottom) in pixels of the photo, as in `Prepared`.
        source_size: (height, width) of the photo.

    Returns:
        (h, w) view of `label`, at its own resolution.

    Raises:
        ImageError: the label map is no scaled version of the photo (turned, or of another photo).
    """
    (height, width), (source_height, source_width) = label.shape, source_size
    # A common scale exists that gives both sides of the map to within the rounding of one pixel.
    scales = [((n - 1) / source, (n + 1) / source) for n, source in zip(label.shape, source_size, strict=True)]
    if max(low for low, _ in scales) > min(high for _, high in scales):
        raise ImageError(
            f"the label map is {height}x{width}, the photo {source_height}x{source_width} (height x width): "
            "their aspect ratios differ; store the label map in the orientation and shape of the image file"
        )
    left, top, right, bottom = box
    columns = _scaled(left, right, width, source_width)
    rows = _scaled(top, bottom, height, source_height)
    return label[rows, columns]


def _scaled(first: int, last: int, length: int, source: int) -> slice:
    start = min((2 * first * length + source) // (2 * source), length - 1)
    stop = (2 * last * length + source) // (2 * source)
    return slice(start, max(stop, start + 1))


def network_size(target: Size, patch: int) -> Size:
    """Return the nearest multiple of `patch` for each side of `target`, ties up, at least one patch.

    Args:
        target: (height, width) in pixels.
        patch: side of a patch in pixels.

    Raises:
        ConfigError: the patch has no pixel.
    """
    if patch < 1:
        raise ConfigError(f"patch size {patch} has no pixel; use 1 or more")
    height, width = (max(1, (2 * side + patch) // (2 * patch)) * patch for side in target)
    return height, width


def parse_size(text: str) -> Size:
    """Read ``320`` as (320, 320), and ``322x434`` as height 322, width 434.

    Raises:
        ConfigError: the text is neither.
    """
    match = re.fullmatch(r"\s*([0-9]{1,6})(?:\s*[xX]\s*([0-9]{1,6}))?\s*", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if min(height, width) < 1:
        raise ConfigError(f"`size={text!r}`: give pixels, 1 or more, as 320, or HEIGHTxWIDTH as 322x434")
    return height, width
