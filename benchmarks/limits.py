"""What the machine can do at most, measured: copying memory, multiplying dense matrices, loading a sparse product."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.graphs import Graph
from benchmarks.table import skipped

MOST_CHANNELS = 128
"""Of the dense factor, for product_limit."""

COPY_BYTES = 256 << 20
"""Size of the copied array: beyond every cache."""


def _best(call, rounds: int) -> float:
    call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


@functools.cache
def copy_bandwidth() -> float:
    """Return bytes a second, read and written, of a copy by torch with its threads."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / _best(lambda: target.copy_(source), 5)


@functools.cache
def sgemm_rate() -> float:
    """Return floating-point operations a second of a square float32 product by torch with its threads."""
    a, b, out = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.empty(1024, 1024)
    return 2 * 1024**3 / _best(lambda: torch.mm(a, b, out=out), 5)


def least_seconds(operations: float, moved: float) -> float:
    """Return the time below which the work cannot be done: at the SGEMM rate or at the speed of copying."""
    return max(operations / sgemm_rate(), moved / copy_bandwidth())


@functools.cache
def _product_limit() -> Callable[..., None] | None:
    """Return the function of product_limit.cpp, compiled; None, after a line that says why, where it cannot be."""
    from torch.utils.cpp_extension import get_cxx_compiler

    installed = Path(torch.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "product_limit.so")
        source = Path(__file__).with_name("product_limit.cpp")
        found = (f"-L{installed / 'lib'}", f"-Wl,-rpath,{installed / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10")
        flags = ("-O3", "-std=c++17", "-shared", "-fPIC", f"-I{installed / 'include'}")
        command = [get_cxx_compiler(), *flags, str(source), "-o", str(library), *found]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            skipped("the limit of loading", f"{command[0]} cannot compile {source.name}: {reason.strip()[:300]}")
            return None
        return ctypes.CDLL(str(library)).product_limit  # stays loaded without its file


def product_limit(graph: Graph, x: torch.Tensor, diagonal: torch.Tensor | None = None) -> Callable[[], None] | None:
    """Return a call that only loads what A x needs, and stores a result: nothing that multiplies can be faster.

    It loads the indices, the values, and for each entry one word of every 64 bytes of its row of x.

    Args:
        graph: A, (n, m).
        x: (m, C) float32.
        diagonal: (m,) float32; an element of it is loaded for each entry too.

    Returns:
        The call; None where C is 0 or more than MOST_CHANNELS, and where there is no compiler, which is said once.
    """
    call = _product_limit()
    if call is None or not 1 <= x.shape[1] <= MOST_CHANNELS:
        return None
    y = torch.empty(graph.rows, x.shape[1])
    kept = [graph.indptr, graph.indices, graph.values, x, diagonal, y]

    def run() -> None:
        pointers = (ctypes.c_void_p(None if part is None else part.data_ptr()) for part in kept)
        call(*pointers, *map(ctypes.c_int64, (graph.rows, graph.columns, x.shape[1])))

    return run
