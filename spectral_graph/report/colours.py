"""A deterministic table of colours that are easy to tell apart, for classes, regions and curves."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# The first colours are chosen by eye so that small class lists look calm; the rest follow by distance.
_FIRST = ("#4c86c6", "#e08a3c", "#4fa362", "#c9504f", "#9270c2", "#e0c24a", "#4db3b0", "#d977b0", "#8c6a50", "#93c47d")

_SERIES = ("#3f83c8", "#d9762b", "#43a06f", "#a070cc", "#c25a72", "#8c8c3c", "#4aa3ad", "#9a7b5f")


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB to OKLab, in which equal distances look about equally different.

    Source: B. Ottosson, "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/.

    Args:
        rgb: (..., 3) in 0..1.

    Returns:
        (..., 3): lightness 0..1, and the two colour axes.
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_lms.T) @ to_lab.T


def colour_table(count: int) -> np.ndarray:
    """Return `count` colours that are easy to tell apart.

    The table of a smaller count is the beginning of a larger one, so a class keeps its colour from run to run. Each
    colour after the first ten is the candidate farthest from all before it in OKLab.

    Args:
        count: how many colours; beyond 400 they repeat.

    Returns:
        (count, 3) uint8 sRGB.
    """
    table = _table(max(min(count, 400), 1))
    return table[np.arange(count) % len(table)]


def series_colours(names: list[str]) -> dict[str, str]:
    """Return one colour a name, as ``#rrggbb``, legible on a white and on a dark page."""
    return {name: _SERIES[index % len(_SERIES)] for index, name in enumerate(dict.fromkeys(names))}


def as_hex(colour: np.ndarray) -> str:
    """Return a (3,) uint8 colour as ``#rrggbb``."""
    return "#" + "".join(f"{int(value):02x}" for value in colour)


@lru_cache(maxsize=16)
def _table(count: int) -> np.ndarray:
    first = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in _FIRST], dtype=np.uint8)
    axis = np.linspace(0, 255, 18).round()
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    lab = oklab(grid / 255)
    # Near-black and near-white would be taken for borders, and grey for unlabelled ground.
    usable = (lab[:, 0] > 0.36) & (lab[:, 0] < 0.93) & (np.hypot(lab[:, 1], lab[:, 2]) > 0.045)
    grid, lab = grid[usable], lab[usable]
    chosen = [*first[:count]]
    distance = np.linalg.norm(lab[:, None] - oklab(first / 255)[None], axis=-1).min(axis=1)
    # A page full of neon colours is tiring: the first forty are the muted ones.
    muted = np.hypot(lab[:, 1], lab[:, 2]) < 0.17
    while len(chosen) < count:
        index = int(np.where(muted, distance, 0).argmax() if len(chosen) < 40 else distance.argmax())
        chosen.append(grid[index])
        distance = np.minimum(distance, np.linalg.norm(lab - lab[index], axis=-1))
    table = np.stack(chosen)
    table.flags.writeable = False
    return table
