"""Twenty million nodes in 1.5 GB: eigenvectors, bank and orthogonal bank of a graph that lies on disk, memory capped.

    python -m benchmarks.outofcore [--sizes 2000000 20000000] [--cap 1.5] [--scattered 0.1] [--folder SCRATCH]

Each size runs in a process of its own under the same cap, which the system enforces: a control group (as root), which
counts the pages of files that the process uses, too; where none can be made, RLIMIT_DATA, which does not. The table
names which it was. The graph is synthetic, ten stored edges a node, and local: see benchmarks.outofcore_graph. With
--scattered that share of the edges between images leads anywhere.

Disk traffic is what the system did for the process (/proc/self/io), given for one pass: one product with all columns.
The disk fraction is the time that this traffic takes at the speed of reading and writing large pieces, measured here
beforehand, as a part of the time taken; the memory fraction the same for the least that a pass must move through
memory (x, y twice, the graph), at the speed of a copy.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.limits import copy_bandwidth
from benchmarks.outofcore_cap import capped
from benchmarks.outofcore_graph import Scenes

PIECE = 4 << 20
REQUESTS = 4
EDGE_BYTES = 8
"""A stored edge: a float32 and an int32."""


def disk_bandwidth(folder: Path, size: int) -> tuple[float, float]:
    """Return bytes a second of writing a file to the disk of `folder` and of reading it back from there.

    Several requests are in flight, past the system's cache where it lets them (open(2), O_DIRECT).
    """
    file, room = folder / "disk", mmap.mmap(-1, PIECE)
    room.write(np.random.default_rng(0).bytes(PIECE))
    raw, places = memoryview(room), range(0, max(PIECE, size // PIECE * PIECE), PIECE)
    file.touch()
    try:
        fd = os.open(file, os.O_RDWR | os.O_DIRECT)
    except (AttributeError, OSError):
        fd = os.open(file, os.O_RDWR)
    with ThreadPoolExecutor(REQUESTS) as requests:
        begin = time.perf_counter()
        done = sum(requests.map(lambda at: os.pwrite(fd, raw, at), places))
        os.fsync(fd)
        written = done / (time.perf_counter() - begin)
        begin = time.perf_counter()
        done = sum(requests.map(lambda at: os.preadv(fd, [raw], at), places))
        read = done / (time.perf_counter() - begin)
    os.close(fd)
    file.unlink()
    return read, written


def one_size(nodes: int, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run a size under the cap and return what it reports, with the cap and the peak memory of its group."""
    scenes = max(2, -(-nodes // (options.images * options.side**2)))
    command = [sys.executable, "-m", "benchmarks.outofcore_solve", str(folder), "--scenes", str(scenes)]
    for name in ("side", "images", "scattered", "channels", "block", "tol", "max_rounds", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    with capped(int(options.cap * 1e9)) as cap:
        record: dict[str, object] = json.loads(cap.run(command).splitlines()[-1])
        return record | {"cap": cap.limit, "enforced_by": cap.kind, "peak_bytes": cap.peak_bytes()}


def figures(record: dict, disk: tuple[float, float], copy: float) -> dict[str, float]:
    """Return what the table shows of a size."""
    solve, nodes = record["parts"]["solve"], record["nodes"]
    total = sum(part["seconds"] for part in record["parts"].values())
    passes = record["steps"] + record["lanczos_steps"]
    columns = nodes * record["width"] * 4
    # The Lanczos steps take one column.
    moved = record["steps"] * (3 * columns + EDGE_BYTES * record["edges"])
    moved += record["lanczos_steps"] * EDGE_BYTES * record["edges"]
    return {
        "solve_s": solve["seconds"],
        "total_s": total,
        "microseconds_per_node": total / nodes * 1e6,
        "nanoseconds_per_node_and_step": solve["seconds"] / nodes / record["steps"] * 1e9,
        "read_per_pass": solve["read"] / passes,
        "written_per_pass": solve["written"] / passes,
        "columns_and_graph": columns * 3 + EDGE_BYTES * record["edges"],
        "disk_fraction": (solve["read"] / disk[0] + solve["written"] / disk[1]) / solve["seconds"],
        "memory_fraction": moved / copy / solve["seconds"],
    }


def show(records: Sequence[dict], options: argparse.Namespace, disk: tuple[float, float]) -> None:
    """Print a column a size."""
    first = records[0]
    title = (
        f"C = {options.channels}, {first['edges'] / first['nodes']:.1f} edges a node, scattered {options.scattered:g}; "
        f"{first['cap'] / 1e9:g} GB, enforced by {first['enforced_by']}; disk {disk[0] / 1e9:.2f} GB/s read, "
        f"{disk[1] / 1e9:.2f} GB/s written; {options.threads} threads"
    )
    table = Table(title=title)
    table.add_column("")
    for record in records:
        table.add_column(f"{record['nodes']} nodes", justify="right")
    base = records[0]["figures"]
    lines = {
        "seconds: graph, eigenvectors, bank, orthogonal bank": lambda r: ", ".join(
            f"{part['seconds']:.1f}" for part in r["parts"].values()
        ),
        "steps, largest residual": lambda r: f"{r['steps']}, {r['residual']:.1e}",
        "microseconds a node, all": lambda r: f"{r['figures']['microseconds_per_node']:.2f}",
        "  ratio to the first size": lambda r: (
            f"{r['figures']['microseconds_per_node'] / base['microseconds_per_node']:.2f}"
        ),
        "nanoseconds a node and step": lambda r: f"{r['figures']['nanoseconds_per_node_and_step']:.0f}",
        "  ratio to the first size ": lambda r: (
            f"{r['figures']['nanoseconds_per_node_and_step'] / base['nanoseconds_per_node_and_step']:.2f}"
        ),
        "GB of columns and graph that a pass uses": lambda r: f"{r['figures']['columns_and_graph'] / 1e9:.2f}",
        "GB a pass from the disk": lambda r: f"{r['figures']['read_per_pass'] / 1e9:.3f}",
        "GB a pass to the disk": lambda r: f"{r['figures']['written_per_pass'] / 1e9:.3f}",
        "fraction of the disk's speed": lambda r: f"{r['figures']['disk_fraction']:.2f}",
        "fraction of the memory's speed": lambda r: f"{r['figures']['memory_fraction']:.2f}",
        "peak GB of the group": lambda r: f"{r['peak_bytes'] / 1e9:.2f}" if r["peak_bytes"] else "not known",
    }
    for name, text in lines.items():
        table.add_row(name.rstrip(), *(text(record) for record in records))
    Console(width=None if Console().is_terminal else 140).print(table)


def main(arguments: Sequence[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000_000, 20_000_000], help="nodes, whole scenes")
    parser.add_argument("--cap", type=float, default=1.5, help="memory of a run in GB")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--tol", type=float, default=1e-3, help="largest residual")
    parser.add_argument("--max-rounds", type=int, default=8)
    parser.add_argument("--scattered", type=float, default=0.0, help="share of the edges between images, 0 to 1")
    parser.add_argument("--side", type=int, default=Scenes.side, help="an image has side x side nodes")
    parser.add_argument("--images", type=int, default=Scenes.images, help="of a scene")
    parser.add_argument("--block", type=int, default=32_768, help="nodes in a graph block")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, help="for scratch files, 1.1 kB a node")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    records: list[dict] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        disk = disk_bandwidth(Path(scratch), min(2 << 30, 1000 * max(options.sizes)))
    for nodes in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            record = one_size(nodes, options, Path(scratch))
        records.append(record | {"figures": figures(record, disk, copy_bandwidth())})
        print(f"{nodes} nodes: {records[-1]['figures']['total_s']:.0f} s", flush=True)
    show(records, options, disk)
    if options.json:
        speeds = {"disk_read": disk[0], "disk_written": disk[1], "copy": copy_bandwidth()}
        options.json.write_text(json.dumps({"speeds": speeds, "sizes": records}, indent=2) + "\n")
    return records


if __name__ == "__main__":
    main()
