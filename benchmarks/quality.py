"""How good are the regions? Whole runs on several data sets against K-means on final features, as a Markdown table.

    python -m benchmarks.quality --data DATA [--seeds 0 1 2] [--only camvid coco] [--more "--batch 101"]

DATA holds the data sets as coco/, cocostuff/, cityscapes/, voc2012/, camvid/. Each row is the mean over all K-means
seeds and graph seeds, with the standard deviation; no seed is picked.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = {
    "coco": "--dataset coco --root {data}/coco --split train2017",
    "cocostuff": "--dataset cocostuff --root {data}/cocostuff --split train2017",
    "cityscapes": "--dataset cityscapes --root {data}/cityscapes --split train",
    "voc": "--dataset voc --root {data}/voc2012 --split val",
    "camvid": "--dataset camvid --root {data}/camvid --split val --preprocess resize --size 322x434",
}


def run(command: str, out: Path) -> dict:
    subprocess.run(
        [sys.executable, "-m", "spectral_graph.build", *shlex.split(command), "--out", str(out), "--quiet"], check=True
    )
    return json.loads((out / "metrics.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="graph seeds")
    parser.add_argument("--only", nargs="+", choices=tuple(RUNS), default=list(RUNS))
    parser.add_argument("--more", default="", help="further options for every run")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = []
    print("| data set | method | images | mIoU Hungarian | mIoU greedy | accuracy | coordinate MSE |")
    print("|---|---|---|---|---|---|---|")
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for seed in options.seeds:
                out = Path(folder) / "run"
                command = f"{RUNS[name].format(data=options.data)} {options.more} --seed {seed} --force graph"
                found.append(run(command, out))
        for method, entry in found[0]["methods"].items():
            entries = [one["methods"][method] for one in found]
            row = {"dataset": name, "method": entry["title"], "images": entry["images_scored"]}
            row["coordinate_mse"] = statistics.mean(e["coordinates"]["mse"] for e in entries)
            for label, matching, score in (
                ("miou_hungarian", "hungarian", "miou"),
                ("miou_greedy", "greedy", "miou"),
                ("accuracy_hungarian", "hungarian", "accuracy"),
            ):
                values = [value for e in entries for value in e[matching][score]["values"]]
                row[label] = [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0]
            rows.append(row)
            scores = [
                f"{row[k][0]:.3f} ± {row[k][1]:.3f}" for k in ("miou_hungarian", "miou_greedy", "accuracy_hungarian")
            ]
            print(
                f"| {name} | {row['method']} | {row['images']} | {' | '.join(scores)} | {row['coordinate_mse']:.1f} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
