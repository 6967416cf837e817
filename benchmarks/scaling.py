"""What do more processes gain? The solve of one stored graph by 1, 2 and 4 processes, what they send, and COCO from it.

    python -m benchmarks.scaling --graph RUN/vv/graph.zarr [--processes 1 2 4] [--channels 50] [--threads 1]

Each solve is started as a user would, by torchrun (gloo). Seconds are those of the solver, without the start of the
processes; bytes are those that a process hands to the others. The subspace angle is that to the first solve. The
projection takes its costs a node from the table, and says what it assumes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import subspace_angles

from spectral_graph.distributed.join import join_comm
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.local_operator import LocalOperator
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.lanczos import STEPS
from spectral_graph.solve.schedule import block_width

TRAIN2017 = {"images": 118_287, "nodes_per_image": 1024, "channels": 50}
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}


def work(options: argparse.Namespace) -> None:
    """Solve as one of the processes, and write what was found and what it took."""
    torch.set_num_threads(options.threads)
    store = GraphStore.open(options.graph)
    names, about = store.names("merged/symmetric"), store.attributes
    nodes, per_image = about["nodes"], options.nodes_per_image or about["nodes_per_image"]
    with join_comm() as comm, tempfile.TemporaryDirectory(dir=options.out) as own:
        shared = options.out / "work"
        begin = time.perf_counter()
        operator = (
            merged_operator(store, "symmetric")
            if comm.size == 1
            else LocalOperator(store, names, nodes, about["rounds"], per_image, comm, Path(own))
        )
        operator.allow(1 << 40)
        made = time.perf_counter() - begin
        x = np.ones((len(operator.rows), block_width(nodes, options.channels)), np.float32)
        y = np.empty_like(x)
        operator.apply(x, y)  # reads the graph, which then stays in memory
        exchange = []
        for _ in range(5):
            comm.barrier()
            begin = time.perf_counter()
            operator.gathered(x)
            exchange.append(time.perf_counter() - begin)
        halo_bytes, sent = operator.halo * x.shape[1] * 4 if isinstance(operator, LocalOperator) else 0, comm.sent
        comm.barrier()
        begin = time.perf_counter()
        found, rounds = chebyshev(
            operator,
            shared,
            ChebyshevSettings(options.channels, options.tol, options.degree, 60, 0),
            per_image,
            lambda _: None,
        )
        comm.barrier()
        seconds = time.perf_counter() - begin
        np.save(options.out / f"{comm.rank}.npy", found.view()[:, : options.channels])
        facts = {
            "seconds": seconds,
            "setup_s": made,
            "steps": STEPS + sum(done.degree + 1 for done in rounds),
            "rounds": len(rounds),
            # Columns times products: locked columns are not filtered any more.
            "column_steps": sum(done.degree * done.filtered + x.shape[1] for done in rounds) + STEPS,
            "residual": float(rounds[-1].residuals[: options.channels].max()),
            "sent": comm.sent - sent,
            "exchange_s": statistics.median(exchange),
            "halo_bytes": halo_bytes,
            "rows": len(operator.rows),
            "width": x.shape[1],
        }
        (options.out / f"{comm.rank}.json").write_text(json.dumps(facts))


def solve_with(processes: int, options: argparse.Namespace) -> tuple[dict[str, float], np.ndarray]:
    """Return the facts of the slowest process, bytes of the one that sends most, and the eigenvectors."""
    with tempfile.TemporaryDirectory() as folder:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        arguments = [f"--graph={options.graph}", f"--channels={options.channels}", f"--tol={options.tol}"]
        arguments += [f"--degree={options.degree}", f"--threads={options.threads}", f"--out={folder}"]
        if options.nodes_per_image:
            arguments.append(f"--nodes-per-image={options.nodes_per_image}")
        command = [sys.executable, *launch, "-m", "benchmarks.scaling", *arguments]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)})
        facts = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(processes)]
        x = np.concatenate([np.load(Path(folder) / f"{rank}.npy") for rank in range(processes)])
    return {"processes": processes} | {name: max(fact[name] for fact in facts) for name in facts[0]}, x


def project(rows: Sequence[dict[str, float]], nodes: int, values: int) -> dict[str, float]:
    """Return what the solve of COCO train2017 would take, from the costs a node and step of one process."""
    one = rows[0]
    count = TRAIN2017["images"] * TRAIN2017["nodes_per_image"]
    factor = count / nodes
    return {
        "nodes": count,
        "values": values * factor,
        "graph_bytes": 8.0 * values * factor,
        "column_bytes": 4.0 * count * one["width"],
        # Columns that have converged are neither filtered nor sent any more.
        "active_bytes": 4.0 * count * one["column_steps"] / one["steps"],
        "product_s": one["seconds"] / one["steps"] * factor,
        "solve_s": one["seconds"] * factor,
        "steps": one["steps"],
    }


def show_row(row: dict[str, float], one: dict[str, float]) -> None:
    """Print a line of the table."""
    print(
        f"{row['processes']:9.0f} {row['seconds']:8.2f} {one['seconds'] / row['seconds']:5.2f} "
        f"{row['steps']:5.0f} {row['exchange_s'] * 1e3:11.1f} {row['sent'] / row['steps'] / 1e6:9.2f} "
        f"{row['angle']:8.1e}",
        flush=True,
    )


def show(rows: Sequence[dict[str, float]], nodes: int, values: int) -> None:
    """Print the size of the graph and the projection."""
    print(
        f"{nodes} nodes, {values} stored values ({values / nodes:.0f} a node), {rows[0]['width']:.0f} columns iterated"
    )
    coco = project(rows, nodes, values)
    print(
        f"COCO train2017: {coco['nodes']:.4g} nodes, graph {coco['graph_bytes'] / 1e9:.0f} GB, columns "
        f"{coco['column_bytes'] / 1e9:.1f} GB (three such arrays), one product {coco['product_s']:.0f} s and the solve "
        f"{coco['solve_s'] / 3600:.1f} h on one process of this machine, if it takes {coco['steps']:.0f} steps"
    )
    for processes in (4, 16, 64):
        # At most every row that another process owns.
        received = coco["active_bytes"] * (1 - 1 / processes)
        compute = coco["product_s"] / processes
        wires = ", ".join(f"{received / speed:.1f} s on {name}" for name, speed in NETWORKS.items())
        print(
            f"  {processes} machines: at most {received / 1e9:.1f} GB received by each a step ({wires}); "
            f"product {compute:.1f} s"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", type=Path, required=True, help="graph.zarr of a run whose stage solve has begun")
    parser.add_argument("--nodes-per-image", type=int, help="where the graph does not tell")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--degree", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.out is not None:
        work(options)
        return
    store = GraphStore.open(options.graph)
    values = sum(len(store.read(name).values) for name in store.names("merged/symmetric"))
    rows: list[dict[str, float]] = []
    print(f"{'processes':>9} {'solve s':>8} {'gain':>5} {'steps':>5} {'exchange ms':>11} {'MB a step':>9} {'angle':>8}")
    reference: np.ndarray | None = None
    for processes in options.processes:
        row, x = solve_with(processes, options)
        reference = x if reference is None else reference
        rows.append(row | {"angle": float(subspace_angles(reference.astype(np.float64), x.astype(np.float64)).max())})
        show_row(rows[-1], rows[0])
    show(rows, store.attributes["nodes"], values)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
