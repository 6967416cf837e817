"""What the tests of the data sets share: writing small files, and finding the real data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not there: the real data sets cannot be read")
    return SHARED


@pytest.fixture
def write_photo() -> Callable[..., np.ndarray]:
    """Returns a function that writes random RGB pixels and returns them."""

    def write(path: Path, height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return write


@pytest.fixture
def write_map() -> Callable[..., None]:
    """Returns a function that writes a label map: grey, or with a palette."""

    def write(path: Path, values: object, palette: bool = False) -> None:
        image = Image.fromarray(np.asarray(values, np.uint8))
        if palette:
            # Shuffled colours: reading colours in place of indices cannot pass.
            image.putpalette(np.random.default_rng(1).permutation(768).astype(np.uint8).tobytes())
            assert image.mode == "P"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)

    return write
