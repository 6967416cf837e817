"""Does memory grow with the number of images? Whole runs on 25, 50 and 100 COCO images, peak memory of each stage.

python -m benchmarks.memory --root COCO --split train2017
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from spectral_graph.config import STAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of COCO")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--block", type=int, default=13_225, help="nodes in a graph block; memory is set by this")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = []
    for images in options.images:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            command = [sys.executable, "-m", "spectral_graph.build", "--dataset", "coco", "--out", str(out), "--quiet"]
            command += ["--root", str(options.root), "--split", options.split]
            command += ["--limit", str(images), "--block", str(options.block)]
            subprocess.run(command, check=True)
            stages = json.loads((out / "run.json").read_text())["stages"]
            rows.append({"images": images} | {name: stages[name]["peak_bytes"] for name in STAGES})
    print(f"peak resident memory in MB, graph blocks of {options.block} nodes")
    print("images " + " ".join(f"{name:>13}" for name in STAGES))
    for row in rows:
        print(f"{row['images']:6d} " + " ".join(f"{row[name] / 1e6:13.0f}" for name in STAGES))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
