"""Is the result of a run that was killed many times that of one that never was?

    python -m benchmarks.kills [--kills 60] [--options "--scope batch --solver adam"] [--seed 0] [--json FILE]
    python -m benchmarks.kills --image [--kills 60] [--options "--solver adam"] [--seed 0] [--json FILE]

Runs all stages on photos of the built-in sample, once undisturbed; then again in a new folder, killed with SIGKILL at
random instants and begun anew by the same command, until it completes; then in another folder, until there were enough
kills. All stages get their share of them, each at an instant drawn uniformly over the length that the stage had in
peace. Every completed run is compared byte for byte with the one in peace. With --image the run is that of
`spectral-graph image`, photo by photo. Needs Linux (/proc).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spectral_graph.data.sample import SAMPLE_FOLDER

STAGES = ("extract", "graph", "solve", "orthogonalise", "segment")
ARTEFACTS = {
    "X_ortho": ("??/ortho/X.*", "??/ortho/images.*"),
    "bank": ("??/bank/X.*", "??/bank/images.*"),
    "graph": ("??/graph.zarr/**/*",),
    "regions": ("regions.zarr/**/*",),
    "metrics": ("metrics.json",),
}
PHOTOS = "image"
"""The only stage of `spectral-graph image`."""
PHOTO_ARTEFACTS = {
    "pictures": ("*/*.png",),
    "arrays": ("*/result.npz",),
    "records": ("*/result.json", "image.json"),
}
AIMS_PER_STAGE = 2
"""Kills that a stage gets in one run directory, at most."""
AIMS_AT_PHOTOS = 5
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
    "optimality": "angles",
    "gallery": "1",
}


IMAGE_OPTIONS = {"size": "224", "batch": "3", "kmeans-init": "1"}


@dataclass(frozen=True)
class Work:
    """What is killed.

    Attributes:
        line: the command that starts and resumes it, without the folder.
        stages: that are aimed at.
        artefacts: patterns of the files that are compared, by what they hold.
    """

    line: tuple[str, ...]
    stages: tuple[str, ...]
    artefacts: dict[str, tuple[str, ...]]

    def command(self, out: Path) -> list[str]:
        """Return the command for a folder."""
        return [*self.line, "--out", str(out)]


def work_of(options: argparse.Namespace) -> Work:
    """Return what the command line asks to kill; later options of a command stand before earlier ones."""
    chosen, more = IMAGE_OPTIONS if options.image else OPTIONS, shlex.split(options.options)
    flags = [part for name, value in chosen.items() for part in (f"--{name}", value)]
    if options.image:
        photos = [str(path) for path in sorted((SAMPLE_FOLDER / "images").iterdir())[: options.photos]]
        line = (sys.executable, "-m", "spectral_graph.cli", "image", *photos, *flags, "--quiet", *more)
        return Work(line, (PHOTOS,), PHOTO_ARTEFACTS)
    return Work((sys.executable, "-m", "spectral_graph.build", *flags, "--quiet", *more), STAGES, ARTEFACTS)


def states(out: Path) -> dict[str, Any]:
    """Return what run.json says of the stages; {} as long as there is none."""
    try:
        found: dict[str, Any] = json.loads((out / "run.json").read_text())["stages"]
    except FileNotFoundError:
        return {}
    return found


def running(out: Path) -> str | None:
    """Return the stage that has begun and is not complete; photos are worked on as soon as image.json is there."""
    if (out / "image.json").exists():
        return PHOTOS
    return next((name for name, record in states(out).items() if record["state"] == "running"), None)


def has_taken_up(process: subprocess.Popen[bytes], out: Path) -> bool:
    """Return whether the process holds the lock of the run, that is, has read what the one before it left."""
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


def compare(run: Path, reference: Path, artefacts: dict[str, tuple[str, ...]] = ARTEFACTS) -> None:
    """End the program unless both runs hold the same files with the same bytes."""
    for name, patterns in artefacts.items():
        ours, theirs = contents(run, patterns), contents(reference, patterns)
        wrong = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
        if wrong or not theirs:
            raise SystemExit(f"{name} of {run} differs from the run in peace: {wrong[:5] or 'there is nothing'}")


def in_peace(work: Work, out: Path) -> dict[str, float]:
    """Run without a kill; return the seconds of each stage."""
    process = subprocess.Popen(work.command(out))
    wait_for(process, out, work.stages[0])
    began = time.perf_counter()
    if process.wait() != 0:
        raise SystemExit(f"the run {out} ended with exit code {process.returncode}")
    seconds = time.perf_counter() - began
    compare(out, out, work.artefacts)
    return {name: states(out)[name]["seconds"] if states(out) else seconds for name in work.stages}


def campaign(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill and resume until there were enough kills; return the figures.

    Args:
        options: of the command line.
        folder: for the runs.
    """
    generator, work, reference = random.Random(options.seed), work_of(options), folder / "peace"
    seconds = in_peace(work, reference)
    lengths = dict(seconds)
    kills: Counter[str] = Counter()
    share, runs = options.kills / len(work.stages), 0
    while kills.total() < options.kills:
        runs += 1
        out = folder / f"killed{runs}"
        line = work.command(out)
        aims = AIMS_PER_STAGE if len(work.stages) > 1 else AIMS_AT_PHOTOS
        for stage in (name for name in work.stages for _ in range(aims)):
            complete = states(out).get(stage, {}).get("state") == "complete"
            if complete or kills[stage] >= share or kills.total() >= options.kills:
                continue
            met = kill_once(line, out, stage, generator.uniform(0, lengths[stage]))
            if met is None:
                lengths[stage] /= 2  # the run in peace was slower
                break
            kills[met] += 1
            print(f"kill {kills.total()}: {met}, in run {runs}", flush=True)
        subprocess.run(line, check=True)
        compare(out, reference, work.artefacts)
    return {"kills": dict(kills), "runs": runs, "seconds": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and print how many kills each stage met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--options", default="", help="of the run, in quotes; they replace those of this benchmark")
    parser.add_argument("--image", action="store_true", help="photo by photo (spectral-graph image)")
    parser.add_argument("--photos", type=int, default=8, help="with --image: how many")
    parser.add_argument("--seed", type=int, default=0, help="of the stages and instants")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        figures = campaign(options, Path(folder).resolve())
    compared = PHOTO_ARTEFACTS if options.image else ARTEFACTS
    table = Table("stage", "seconds in peace", "kills")
    for name in dict.fromkeys((*figures["seconds"], *figures["kills"])):
        seconds = figures["seconds"].get(name)
        table.add_row(name, "" if seconds is None else f"{seconds:.2f}", str(figures["kills"].get(name, 0)))
    Console().print(table)
    print(f"{sum(figures['kills'].values())} kills over {figures['runs']} runs; {', '.join(compared)} of every run are")
    print("byte for byte those of the run in peace")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
