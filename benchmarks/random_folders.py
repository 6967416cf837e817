"""Do random folders end in a finished run whose counts add up, or in one worded error before the extraction?

    python -m benchmarks.random_folders [--runs 1000] [--seed 0] [--processes 2] [--keep FOLDER] [--json FILE]

Builds runs of small folders with names, formats, sizes, label values and nesting drawn from a seed
(`random_folder_maker`), with the default model and few nodes, and reads all that they print. A fault is a traceback, a
warning of a library, a control character on the terminal, an error after the extraction, or counts that do not add up.
Prints how many runs finished, how many were refused and why, and each fault with its seed. Needs Linux.
"""

from __future__ import annotations

import argparse
import collections
import gc
import importlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.random_folder_maker import FAST, judge, make_folder


def settle() -> None:
    """Load the modules of a run, and take them out of the garbage collection that a run makes before every stage."""
    for name in (
        "timm",
        "onnx",
        "matplotlib.pyplot",
        "spectral_graph.cli.commands",
        "spectral_graph.pipeline",
        "sklearn.cluster",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def one_run(seed: int, keep: str | None) -> dict[str, Any]:
    """Build the run of a seed in this process, with its output in a file; return what became of it."""
    from spectral_graph.cli.entry import main

    with tempfile.TemporaryDirectory(prefix="random-folder-") as name:
        made = make_folder(Path(name), seed)
        out = made.root / "out" if "--out-inside" in made.options else Path(name) / "run"
        options = [option for option in made.options if option != "--out-inside"]
        log = Path(name) / "log.txt"
        kept = os.dup(1), os.dup(2)
        began = time.monotonic()
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                given = ["build", "--dataset", "folder", f"--root={made.root}", "--out", str(out), *FAST, *options]
                code, crash = main(given), ""
            except BaseException as error:  # a traceback, for the user
                code, crash = 1, f"Traceback: {type(error).__name__}: {error}\n"
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                for fd, saved in zip((1, 2), kept, strict=True):
                    os.dup2(saved, fd)
                    os.close(saved)
        told = log.read_text(encoding="utf-8", errors="replace") + crash
        if keep is not None:
            Path(keep, f"{seed:06d}.txt").write_text(told, encoding="utf-8")
        return {
            "seed": seed,
            "code": code,
            "error": next((line for line in told.splitlines() if line.startswith("error: ")), ""),
            "faults": judge(made, out, code, told),
            "told": told[-3000:],
            "about": made.about,
            "seconds": time.monotonic() - began,
        }


def kind_of(error: str) -> str:
    """Return an error without its paths and numbers, so that equal ones can be counted."""
    text = re.sub(r"(/\S*random-folder-\S*)( \S*/\S*)?", "PATH", error.removeprefix("error: "))
    return " ".join(re.sub(r"\d+", "N", text).split()[:9])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the output of every run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    console = Console()
    began, results = time.monotonic(), []
    seeds = range(options.seed, options.seed + options.runs)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.processes)))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, spawn, initializer=settle) as pool:
        pending = [pool.submit(one_run, seed, options.keep and str(options.keep)) for seed in seeds]
        for future in as_completed(pending):
            result = future.result()
            results.append(result)
            for fault in result["faults"]:
                console.print(f"seed {result['seed']}: {fault}; {result['about']}", markup=False)
            if len(results) % 50 == 0:
                rate = len(results) / (time.monotonic() - began)
                console.print(f"{len(results)}/{len(seeds)} runs, {rate:.2f}/s", markup=False)
    show(console, results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    sys.exit(1 if any(result["faults"] for result in results) else 0)


def show(console: Console, results: list[dict[str, Any]]) -> None:
    """Print the outcomes."""
    table = Table("outcome", "runs")
    refused = [result for result in results if result["code"] == 2]
    table.add_row("finished, counts add up", str(sum(r["code"] == 0 and not r["faults"] for r in results)))
    table.add_row("refused with one error line before the extraction", str(sum(not r["faults"] for r in refused)))
    table.add_row("faults", str(sum(bool(r["faults"]) for r in results)))
    console.print(table)
    for kind, count in collections.Counter(kind_of(r["error"]) for r in refused).most_common(30):
        console.print(f"{count:5}  {kind}", markup=False)


if __name__ == "__main__":
    main()
