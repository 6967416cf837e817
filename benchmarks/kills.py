"""Is the result of a run that was killed many times that of one that never was?

    python -m benchmarks.kills [--kills 60] [--scope dataset] [--solver chebyshev] [--seed 0] [--json FILE]

Runs the whole way on photos of the built-in sample, once in peace; then again in a new folder, killed with SIGKILL at
random instants and begun anew by the same command, until it completes; then in another folder, until there were enough
kills. All stages get their share of them, each at an instant drawn uniformly over the length that the stage had in
peace. Every completed run is compared byte for byte with the one in peace. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

STAGES = ("extract", "graph", "solve", "orthogonalise", "segment")
ARTEFACTS = {
    "X_ortho": ("vv/ortho/X.*", "vv/ortho/images.*", "qk/ortho/X.*", "qk/ortho/images.*"),
    "graph": ("vv/graph.zarr/**/*", "qk/graph.zarr/**/*"),
    "regions": ("regions.zarr/**/*",),
    "metrics": ("metrics.json",),
}
AIMS_PER_STAGE = 2
"""Kills that a stage gets in one run directory, at most."""
# A run of some 20 s in which every stage has several units of work.
OPTIONS = {
    "dataset": "coco",
    "split": "sample",
    "limit": "8",
    "image-batch": "2",
    "block": "2200",
    "batch": "4",
    "tol": "1e-5",
    "steps": "300",
    "yardstick": "angles",
    "gallery": "1",
}


def command(options: argparse.Namespace, out: Path) -> list[str]:
    """Return the command that begins a run and goes on with it."""
    chosen = {**OPTIONS, "scope": options.scope, "solver": options.solver, "out": str(out)}
    flags = [part for name, value in chosen.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "spectral_graph.build", *flags, "--quiet"]


def states(out: Path) -> dict[str, Any]:
    """Return what run.json says of the stages; {} as long as there is none."""
    try:
        found: dict[str, Any] = json.loads((out / "run.json").read_text())["stages"]
    except FileNotFoundError:
        return {}
    return found


def running(out: Path) -> str | None:
    """Return the stage that has begun and is not complete."""
    return next((name for name, record in states(out).items() if record["state"] == "running"), None)


def has_taken_up(process: subprocess.Popen[bytes], out: Path) -> bool:
    """Tell whether the process holds the lock of the run, that is, has read what the one before it left."""
    with contextlib.suppress(OSError):
        return any(link.readlink() == out / ".lock" for link in Path(f"/proc/{process.pid}/fd").iterdir())
    return False


def wait_for(process: subprocess.Popen[bytes], out: Path, stage: str) -> bool:
    """Wait until the process is in `stage`; False if it ended before."""
    while process.poll() is None and not has_taken_up(process, out):
        time.sleep(0.001)
    while process.poll() is None:
        if running(out) == stage:
            return True
        time.sleep(0.001)
    return False


def kill_once(line: list[str], out: Path, stage: str, delay: float) -> str | None:
    """Run until `delay` seconds after the begin of `stage` and kill; return the stage met, None if it had completed."""
    process = subprocess.Popen(line)
    if wait_for(process, out, stage):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
    process.kill()
    code = process.wait()
    if code not in (0, -9):
        raise SystemExit(f"the run {out} ended with exit code {code}, neither killed nor complete")
    return (running(out) or "between stages") if code else None


def contents(run: Path, patterns: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of all files that match."""
    found = {path for pattern in patterns for path in run.glob(pattern) if path.is_file()}
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in found}


def compare(run: Path, reference: Path) -> None:
    """End the program unless both runs hold the same files with the same bytes."""
    for name, patterns in ARTEFACTS.items():
        ours, theirs = contents(run, patterns), contents(reference, patterns)
        wrong = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
        if wrong or not theirs:
            raise SystemExit(f"{name} of {run} differs from the run in peace: {wrong[:5] or 'there is nothing'}")


def campaign(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill and resume until there were enough kills; return the figures.

    Args:
        options: of the command line.
        folder: for the runs.
    """
    generator = random.Random(options.seed)
    reference = folder / "peace"
    subprocess.run(command(options, reference), check=True)
    lengths = {name: states(reference)[name]["seconds"] for name in STAGES}
    compare(reference, reference)
    kills: Counter[str] = Counter()
    runs = 0
    while kills.total() < options.kills:
        runs += 1
        out = folder / f"killed{runs}"
        line = command(options, out)
        for stage in (name for name in STAGES for _ in range(AIMS_PER_STAGE)):
            complete = states(out).get(stage, {}).get("state") == "complete"
            if complete or kills[stage] >= options.kills / len(STAGES) or kills.total() >= options.kills:
                continue
            met = kill_once(line, out, stage, generator.uniform(0, lengths[stage]))
            if met is None:
                break
            kills[met] += 1
            print(f"kill {kills.total()}: {met}, in run {runs}", flush=True)
        subprocess.run(line, check=True)
        compare(out, reference)
    return {"kills": dict(kills), "runs": runs, "seconds": lengths}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and print how many kills each stage met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--scope", choices=("batch", "dataset"), default="dataset")
    parser.add_argument("--solver", choices=("chebyshev", "adam"), default="chebyshev")
    parser.add_argument("--seed", type=int, default=0, help="of the stages and instants")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    if options.scope == "dataset" and options.solver == "adam":
        parser.error("--solver adam needs --scope batch")
    with tempfile.TemporaryDirectory() as folder:
        figures = campaign(options, Path(folder).resolve())
    table = Table("stage", "seconds in peace", "kills")
    for name in (*STAGES, *(figures["kills"].keys() - set(STAGES))):
        seconds = figures["seconds"].get(name)
        table.add_row(name, "" if seconds is None else f"{seconds:.2f}", str(figures["kills"].get(name, 0)))
    Console().print(table)
    print(
        f"{sum(figures['kills'].values())} kills over {figures['runs']} runs; {', '.join(ARTEFACTS)} of every run are"
    )
    print("byte for byte those of the run in peace")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
