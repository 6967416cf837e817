"""How fast are the neighbours in other images found, at what recall? Ours against FAISS and pynndescent, in turn.

    python -m benchmarks.neighbours [--features RUN/features.zarr] [--layer blocks.10] [--plot FILE] [--json FILE]
    python -m benchmarks.neighbours --sizes 200000 2000000   # time a node and peak memory, each size in a process

Without --features the vectors are synthetic. Times hold everything: training, building, choosing the effort, searching;
ours starts from the stored rows, the peers from centred unit rows in memory. FAISS is run at several efforts and leaves
out the own image by a selector; pynndescent has none and is asked for more neighbours, those of the own image dropped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.neighbour_peers import COUNT, descent, inverted_file, linked, quantised
from benchmarks.table import skipped
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.neighbours import find_neighbours
from spectral_graph.node_rows import ArrayRows
from spectral_graph.ops import topc_affinity

Search = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Point:
    """One method at one effort.

    Attributes:
        method: its name.
        effort: in words.
        seconds: median.
        recall: against all exact neighbours.
    """

    method: str
    effort: str
    seconds: float
    recall: float


def synthetic(images: int, nodes: int, dim: int) -> np.ndarray:
    """Return float16 rows around shared directions, as features of scenes are."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((200, 24)) @ generator.standard_normal((24, dim))
    rows = centres[generator.integers(0, 200, images * nodes)]
    return (rows + 2 * generator.standard_normal((images * nodes, 24)) @ generator.standard_normal((24, dim))).astype(
        np.float16
    )


def load(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, int]:
    """Return float16 rows, their mean and the nodes of an image."""
    if options.features is None:
        rows = synthetic(options.images, options.nodes, options.dim)
        return rows, rows.mean(axis=0, dtype=np.float64).astype(np.float32), options.nodes
    store = FeatureStore.open(options.features)
    slots = list(range(store.slots))
    rows = store.rows(options.layer, "v", slots)
    return rows.read(slice(0, rows.shape[0])), store.mean(options.layer, "v", slots), store.nodes


def ours(rows: np.ndarray, mean: np.ndarray, images: np.ndarray, recall: float, method: str = "cells") -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        found = find_neighbours(
            ArrayRows(rows), None, images, COUNT, method=method, recall=recall, query_mean=mean, work=Path(folder)
        )
        return np.array(found.columns)


def exact(unit: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return all exact neighbours (N, COUNT), -1 where there are fewer."""
    x = torch.from_numpy(unit)
    indptr, indices, _ = topc_affinity(x, x, torch.from_numpy(images), 0, COUNT, 0.0, symmetric=True)
    truth = np.full((len(unit), COUNT), -1, np.int64)
    row = np.repeat(np.arange(len(unit)), np.diff(indptr.numpy()))
    truth[row, np.arange(len(indices)) - indptr.numpy()[row]] = indices.numpy()
    return truth


def recall_of(found: np.ndarray, truth: np.ndarray) -> float:
    hits = sum(int((truth[:, [k]] == found).any(axis=1)[truth[:, k] >= 0].sum()) for k in range(COUNT))
    return hits / max(1, int((truth >= 0).sum()))


def searches(
    options: argparse.Namespace, rows: np.ndarray, mean: np.ndarray, unit: np.ndarray, images: np.ndarray
) -> dict[tuple[str, str], Search]:
    """Return every method at every effort."""
    calls: dict[tuple[str, str], Search] = {}
    for recall in options.recalls:
        calls["ours", f"recall {recall:g}"] = lambda recall=recall: ours(rows, mean, images, recall)
    if importlib.util.find_spec("faiss") is None:
        skipped("FAISS", "faiss")
    else:
        import faiss

        faiss.omp_set_num_threads(options.threads)
        lists = max(1, round(2 * len(unit) ** 0.5))
        if "ivf" in options.peers:
            for probes in options.probes:
                calls["FAISS IVFFlat", f"{lists} lists, {probes} probed"] = lambda p=probes: inverted_file(
                    unit, images, lists, p
                )
        if "pq" in options.peers:
            for probes in options.probes:
                calls["FAISS IVF-PQ, refined", f"{lists} lists, {probes} probed"] = lambda p=probes: quantised(
                    unit, images, lists, p, 4
                )
        if "hnsw" in options.peers:
            for effort in options.efforts:
                calls["FAISS HNSW", f"16 links, effort {effort}"] = lambda e=effort: linked(unit, images, 16, 40, e)
    if "pynndescent" in options.peers:
        if importlib.util.find_spec("pynndescent") is None:
            skipped("pynndescent", "pynndescent")
        else:
            descent(unit[: images[2]], images[:3], options.threads, COUNT)  # compiles
            for more in options.neighbours:
                calls["pynndescent", f"{more} neighbours"] = lambda m=more: descent(unit, images, options.threads, m)
    return calls


def measure(calls: dict[tuple[str, str], Search], truth: np.ndarray, rounds: int) -> list[Point]:
    """Time the calls in turn, round by round, and take medians."""
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    recalls = {}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            found = call()
            taken[name].append(time.perf_counter() - start)
            recalls[name] = recall_of(found, truth)
    return [Point(*name, statistics.median(times), recalls[name]) for name, times in taken.items()]


def draw(points: Sequence[Point], file: Path) -> None:
    """Draw seconds over recall, a line for each method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for method in dict.fromkeys(point.method for point in points):
        line = sorted((point.recall, point.seconds) for point in points if point.method == method)
        axis.plot(*zip(*line, strict=True), "o-", label=method, linewidth=2.5 if method == "ours" else 1.2)
    axis.set(xlabel=f"recall of the {COUNT} nearest in other images", ylabel="seconds, all included", yscale="log")
    axis.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def one_size(options: argparse.Namespace) -> dict[str, float]:
    """Search `--size` rows: the given features again and again with noise, in a memory map of float16."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, mean, nodes = load(options)
        dim = source.shape[1]
        file = Path(folder) / "rows.npy"
        header = {"descr": "<f2", "fortran_order": False, "shape": (options.size, dim)}
        generator = np.random.default_rng(1)
        noise = 0.3 * float(source[:2000].astype(np.float32).std())
        with file.open("wb") as out:  # not mapped: the pages would count as memory of this process
            np.lib.format.write_array_header_1_0(out, header)
            for begin in range(0, options.size, len(source)):
                end = min(options.size, begin + len(source))
                for low in range(begin, end, 1 << 14):
                    high = min(end, low + (1 << 14))
                    part = source[low - begin : high - begin].astype(np.float32)
                    part += noise * generator.standard_normal((high - low, dim), np.float32)
                    out.write(part.astype("<f2").tobytes())
        del source
        images = np.r_[np.arange(0, options.size, nodes), options.size]
        mapped = np.lib.format.open_memmap(file, mode="r")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        start = time.perf_counter()
        found = find_neighbours(
            ArrayRows(mapped), None, images, COUNT, recall=options.recall, query_mean=mean, work=Path(folder) / "work"
        )
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"nodes": options.size, "seconds": seconds, "peak_bytes": peak, "before_bytes": before, **found.facts}


def sizes(options: argparse.Namespace) -> list[dict[str, float]]:
    """Run every size in a process of its own."""
    records = []
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.neighbours", "--size", str(size), "--recall", str(options.recall)]
        command += ["--threads", str(options.threads), "--layer", options.layer]
        command += ["--features", str(options.features)] if options.features else []
        command += ["--folder", str(options.folder)] if options.folder else []
        record = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(
            f"{size} nodes: {record['seconds']:.1f} s, {record['seconds'] / size * 1e6:.2f} us a node, "
            f"recall {record['recall']:.3f}, peak {record['peak_bytes'] / 1e9:.2f} GB "
            f"({record['before_bytes'] / 1e9:.2f} before the search)"
        )
        records.append(record)
    return records


def main(arguments: Sequence[str] | None = None) -> list[Point]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="features.zarr of a run")
    parser.add_argument("--layer", default="blocks.10")
    parser.add_argument("--images", type=int, default=20, help="without --features")
    parser.add_argument("--nodes", type=int, default=400, help="of an image, without --features")
    parser.add_argument("--dim", type=int, default=384, help="without --features")
    parser.add_argument(
        "--recalls", type=float, nargs="+", default=[0.8, 0.9, 0.95, 0.98], help="that ours is asked for"
    )
    parser.add_argument("--peers", nargs="*", default=["ivf", "pq", "hnsw", "pynndescent"])
    parser.add_argument("--probes", type=int, nargs="+", default=[1, 2, 3, 4, 8], help="of the inverted files")
    parser.add_argument("--efforts", type=int, nargs="+", default=[16, 32, 64], help="of HNSW")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[30, 60], help="of pynndescent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="write a PNG of seconds over recall here")
    parser.add_argument("--sizes", type=int, nargs="+", help="measure these numbers of nodes instead")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--recall", type=float, default=0.9, help="with --sizes")
    parser.add_argument("--folder", type=Path, help="for scratch files, with --sizes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.size:
        print(json.dumps(one_size(options)))
        return []
    if options.sizes:
        records = sizes(options)
        if options.json:
            options.json.write_text(json.dumps(records, indent=2) + "\n")
        return []
    rows, mean, nodes = load(options)
    images = np.arange(0, len(rows) + 1, nodes)
    unit = rows.astype(np.float32) - mean
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    truth = exact(unit, images)
    points = measure(searches(options, rows, mean, unit, images), truth, options.rounds)
    table = Table(title=f"{len(rows)} nodes, d = {rows.shape[1]}, c = {COUNT}, {options.threads} threads, medians")
    for name in ("method", "effort", "seconds", "recall"):
        table.add_column(name, justify="left" if name in ("method", "effort") else "right")
    for point in sorted(points, key=lambda point: (point.method != "ours", point.method, point.recall)):
        table.add_row(point.method, point.effort, f"{point.seconds:.2f}", f"{point.recall:.3f}")
    Console(width=None if Console().is_terminal else 120).print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(point) for point in points], indent=2) + "\n")
    if options.plot:
        draw(points, options.plot)
    return points


if __name__ == "__main__":
    main()
