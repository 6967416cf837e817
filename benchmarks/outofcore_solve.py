"""The work of benchmarks.outofcore in a process of its own: graph, eigenvectors, bank and orthogonal bank of one size.

Prints one line of JSON. Everything goes through the package's own functions, in the order of its stages.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.outofcore_graph import Scenes, write_graph
from spectral_graph.bank import Bank
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.io.files import remove
from spectral_graph.memory import peak_bytes
from spectral_graph.solve.bank_rows import image_chunks
from spectral_graph.solve.chebyshev import ChebyshevSettings, Round, chebyshev, rayleigh_quotients
from spectral_graph.solve.lanczos import STEPS
from spectral_graph.solve.orthogonalise import orthogonalise
from spectral_graph.solve.schedule import block_width

DEGREE = 40


def disk_bytes() -> dict[str, int]:
    """Return the bytes that this process has had read from and written to disks so far; zeros where not known."""
    try:
        lines = (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except OSError:
        return {"read": 0, "written": 0}
    known = {name: int(count) for name, count in lines}
    return {"read": known["read_bytes"], "written": known["write_bytes"]}


class Parts:
    """Seconds, seconds of processors and disk traffic of each part of the work."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, float]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        before, begin, processors = disk_bytes(), time.perf_counter(), time.process_time()
        yield
        times = {"seconds": time.perf_counter() - begin, "processor_seconds": time.process_time() - processors}
        self.records[name] = times | {key: count - before[key] for key, count in disk_bytes().items()}


def write_bank(bank: Bank, x: np.ndarray, operator: BlockOperator, work: Path) -> None:
    """Write the leading columns of x as a generation of the bank, with their Rayleigh quotients, as stage `solve`."""
    bank.begin()
    rows = bank.nodes_per_image
    for start, stop in image_chunks(bank):
        bank.write(range(start, stop), x[start * rows : stop * rows, : bank.channels])
    bank.commit(rayleigh_quotients=rayleigh_quotients(operator, bank.draft(), work).tolist())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where graph, bank and working space go")
    parser.add_argument("--scenes", type=int, required=True)
    parser.add_argument("--side", type=int, default=Scenes.side)
    parser.add_argument("--images", type=int, default=Scenes.images, help="of a scene")
    parser.add_argument("--scattered", type=float, default=0.0)
    parser.add_argument("--channels", type=int, required=True)
    parser.add_argument("--block", type=int, required=True)
    parser.add_argument("--tol", type=float, required=True)
    parser.add_argument("--max-rounds", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    graph = Scenes(options.scenes, options.side, options.images, options.scattered)
    work = options.folder / "solve"
    parts = Parts()

    def say(result: Round) -> None:
        residual = result.residuals[: options.channels].max()
        text = f"round {result.index}: degree {result.degree} on {result.filtered} columns, residual {residual:.1e}"
        print(text, file=sys.stderr, flush=True)

    with parts.of("graph"):
        store, edges = write_graph(graph, options.folder / "graph.zarr", options.block)
    operator = merged_operator(store, "symmetric")
    with parts.of("solve"):
        found, rounds = chebyshev(
            operator,
            work,
            ChebyshevSettings(options.channels, options.tol, DEGREE, options.max_rounds, 0),
            graph.nodes_per_image,
            say,
        )
    shape = graph.nodes, options.channels
    with parts.of("bank"):
        bank = Bank(options.folder / "bank", shape, ("X",), graph.nodes_per_image)
        write_bank(bank, found.view(), operator, work)
    del found
    remove(work)
    with parts.of("orthogonalise"):
        ortho = Bank(options.folder / "ortho", shape, ("X",), graph.nodes_per_image)
        result = orthogonalise(bank, ortho, "ritz", operator.apply, options.folder / "work")
        ortho.commit(eigenvalues=result.eigenvalues.tolist(), off_diagonal=result.off_diagonal)
    filters = [[r.degree, r.filtered] for r in rounds]
    record = {
        "nodes": graph.nodes,
        "edges": edges,
        "width": block_width(graph.nodes, options.channels),
        "lanczos_steps": STEPS,
        "filters": filters,
        "steps": sum(r.degree + 1 for r in rounds),
        "residual": float(rounds[-1].residuals[: options.channels].max()),
        "eigenvalues": rounds[-1].ritz[: options.channels].tolist(),
        "off_diagonal": result.off_diagonal,
        "parts": parts.records,
        "resident_peak": peak_bytes(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
