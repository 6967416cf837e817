"""All microbenchmarks of the operators, one after the other, with their default sizes.

    python -m benchmarks [--json FILE] [--plots FOLDER] [--threads 2] [--seconds 1]

The whole-job benchmarks need data sets and are run by themselves: benchmarks.memory, benchmarks.quality.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks import adam, affinity, gram, rayleigh, spmm, symmetrise

ALL = {
    "spmm": spmm,
    "rayleigh": rayleigh,
    "affinity": affinity,
    "symmetrise": symmetrise,
    "gram": gram,
    "adam": adam,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plots", type=Path, help="write a PNG for each benchmark with several C into this folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1.0, help="least time for each comparison")
    options = parser.parse_args()
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
    records = []
    for name, module in ALL.items():
        print(f"benchmarks.{name}")
        arguments = ["--threads", str(options.threads), "--seconds", str(options.seconds)]
        if options.plots:
            arguments += ["--plot", str(options.plots / f"{name}.png")]
        records += [row.record() for row in module.main(arguments)]
        if options.json:
            options.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
