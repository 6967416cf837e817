"""Put pictures of a run's report side by side: photo, three V-V eigenvectors as colours, V-V regions.

    python -m tools.picture_strip RUN IMAGE docs/strip.png

The report writes the pictures of the images in its gallery (`--gallery`).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from PIL import Image

HEIGHT, GAP = 240, 8
PARTS = ("photo", r"vv_eigenvectors_1-3", "vv_regions")


def strip(report: Path, image: str) -> Image.Image:
    """Return the pictures of one image of a report side by side, HEIGHT pixels high.

    Raises:
        FileNotFoundError: the report does not show that image.
    """
    pictures = []
    for part in PARTS:
        found = [path for path in sorted(report.glob(f"{image}_*.png")) if re.fullmatch(f"{image}_{part}", path.stem)]
        if not found:
            raise FileNotFoundError(f"{report} has no picture {image}_{part}.png; build it with a larger --gallery")
        picture = Image.open(found[0]).convert("RGB")
        # Patches stay squares: eigenvectors and regions are one pixel a patch.
        resample = Image.Resampling.LANCZOS if part == "photo" else Image.Resampling.NEAREST
        pictures.append(picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), resample))
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    whole = Image.new("RGB", (width, HEIGHT), "white")
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + GAP
    return whole


def main() -> None:
    """Write the strip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("image", help="id of the image")
    parser.add_argument("out", type=Path, help="picture to write")
    options = parser.parse_args()
    strip(options.run / "report", options.image).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
