"""A folder of photos with label maps, and the name of a small model, for tests of whole runs."""

from pathlib import Path

import numpy as np
from PIL import Image

MODEL = "vit_tiny_patch16_224"


def write_folder(root: Path, images: int = 7, side: int = 80) -> Path:
    """Photos with a bright disc on a dark ground, and label maps (0 ground, 1 disc, 255 border)."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    y, x = np.mgrid[:side, :side]
    for index in range(images):
        centre = generator.uniform(0.3, 0.7, 2) * side
        distance = np.hypot(y - centre[0], x - centre[1])
        disc = distance < side / 4
        pixels = generator.integers(0, 60, (side, side, 3)) + disc[..., None] * generator.integers(90, 190, 3)
        label = np.where(np.abs(distance - side / 4) < 1, 255, disc).astype(np.uint8)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{index:02d}.png")
        Image.fromarray(label).save(root / "labels" / f"{index:02d}.png")
    return root
