"""Makes the built-in sample from COCO: the photos whose licence allows it, and their 27-class label maps.

python tools/make_sample.py --coco ROOT --split train2017 --out spectral_graph/data/sample
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spectral_graph.data.coco import CocoPanoptic
from spectral_graph.errors import SpectralGraphError

# Ids of COCO's annotation files: the licences that allow redistribution, also changed and for any purpose.
LICENCES = {
    4: "CC BY 2.0",
    5: "CC BY-SA 2.0",
    7: "No known copyright restrictions",
    8: "United States Government Work",
}

LIMIT_BYTES = 5_000_000

README = """# The built-in sample

{count} photos of COCO {split} with label maps of 27 classes, used where no data set is named. `sample.json` lists them;
`tools/make_sample.py` made this folder.

- `images/`: the JPEG files of COCO, byte for byte. Each has its own licence, below. COCO's annotations name no
  photographers; the source is the address that they give.
- `labels/`: 8-bit PNG, value = index of the supercategory (`COARSE_CLASSES` in `spectral_graph/data/labels.py`),
  255 = unlabelled. Derived from the COCO 2017 panoptic annotations, which the COCO Consortium publishes under
  [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) (https://cocodataset.org); changed: segments of one
  supercategory are merged.

| file | licence | source |
|---|---|---|
{rows}
"""


def make_sample(coco: Path, split: str, out: Path) -> int:
    """Write the sample.

    Args:
        coco: folder of the COCO data set, in the layout of `CocoPanoptic`.
        split: e.g. ``train2017``.
        out: folder to write to; its ``images`` and ``labels`` are replaced.

    Returns:
        The size of all files in bytes.
    """
    dataset = CocoPanoptic(coco, split)
    content = json.loads(dataset.annotations[0].read_bytes())
    urls = {licence["id"]: licence["url"] for licence in content["licenses"]}
    allowed = {Path(image["file_name"]).stem: image for image in content["images"] if image["license"] in LICENCES}
    for folder in ("images", "labels"):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    for record in dataset.records:
        label = dataset.read_label(record) if record.id in allowed else None
        if label is None:
            continue
        image = allowed[record.id]
        entry = {
            "id": record.id,
            "file": f"images/{record.image.name}",
            "label": f"labels/{record.id}.png",
            "width": image["width"],
            "height": image["height"],
            "licence": LICENCES[image["license"]],
            "licence_url": urls[image["license"]],
            "flickr_url": image["flickr_url"],
            "coco_url": image["coco_url"],
        }
        shutil.copyfile(record.image, out / entry["file"])
        # -1 (ignored) becomes 255.
        Image.fromarray(label.astype(np.uint8)).save(out / entry["label"], optimize=True)
        entries.append(entry)
    about = {
        "source": f"COCO {split}, panoptic annotations, https://cocodataset.org",
        "annotations_licence": "CC BY 4.0",
        "annotations_licence_url": "https://creativecommons.org/licenses/by/4.0/",
        "images": entries,
    }
    (out / "sample.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    rows = "\n".join(
        f"| {e['file']} | [{e['licence']}]({e['licence_url']}) | {e['flickr_url']} ({e['coco_url']}) |" for e in entries
    )
    text = README.format(count=len(entries), split=split, rows=rows)
    (out / "README.md").write_text(text, encoding="utf-8")
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def main() -> int:
    """Read the command line, make the sample, and say how large it is."""
    parser = argparse.ArgumentParser(description="Make the built-in sample from COCO's freely licensed photos.")
    parser.add_argument("--coco", type=Path, required=True, help="folder of the COCO data set")
    parser.add_argument("--split", default="train2017", help="split to take the photos from (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args()
    try:
        size = make_sample(options.coco, options.split, options.out)
    except SpectralGraphError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{options.out}: {size / 1e6:.2f} MB\n")
    if size > LIMIT_BYTES:
        sys.stderr.write(f"the sample is larger than {LIMIT_BYTES / 1e6:g} MB; take a smaller split\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
