"""The host sides of the CUDA operators, compiled by g++ over the emulation, against the operators of the CPU.

python tests/cuda/host_cases.py FOLDER   builds them there and compares
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import emulator
import numpy as np
import torch
from matrices import SEGMENT, matrix
from row_cases import cell_problem, cosine_problem
from torch.utils.cpp_extension import include_paths, library_paths

from spectral_graph import ops
from spectral_graph.ops.cuda import OPERATORS

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-DTORCH_TARGET_VERSION=0x020d000000000000")
SMALL_BLOCKS = ("-DSG_BLOCK_COLUMNS=48", "-DSG_BLOCK_SCORES=960")
PRELUDE = '#include <tuple>\n#include <vector>\n#include "cuda/csr_host.h"\n'


def build(folder: Path) -> Path:
    """Return a library that registers the emulated operators in the namespace spectral_graph_emulated."""
    include = [f"-I{emulator.CSRC}", f"-I{emulator.EMULATION}", *(f"-isystem{path}" for path in include_paths())]
    command = ["g++", *FLAGS, *SMALL_BLOCKS, *include]
    # torch's headers take most of the time, so they are compiled once for all sources.
    prelude = folder / "prelude.h"
    prelude.write_text(PRELUDE)
    subprocess.run([*command, "-x", "c++-header", str(prelude), "-o", f"{prelude}.gch"], check=True)
    sources = sorted((emulator.CSRC / "cuda").glob("*.cu"))
    sources = [source for source in sources if source.stem != "module"]
    jobs = [[*command, "-include", str(prelude), "-x", "c++", "-c", str(source)] for source in sources]
    own = [emulator.EMULATION / f"{name}.cpp" for name in ("cuda_emu", "fibers")]
    jobs += [[*command, "-c", str(source)] for source in own]
    objects = [str(folder / f"{source.stem}.o") for source in [*sources, *own]]
    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        list(workers.map(lambda job, to: subprocess.run([*job, "-o", to], check=True), jobs, objects))
    library = folder / "emulated_operators.so"
    paths = [flag for path in library_paths() for flag in (f"-L{path}", f"-Wl,-rpath,{path}")]
    subprocess.run(["g++", "-shared", *objects, *paths, "-ltorch", "-ltorch_cpu", "-o", str(library)], check=True)
    return library


def load(library: Path) -> torch.library.Library:
    """Declare the emulated operators with the schemas of the real ones and load them."""
    namespace = torch.library.Library("spectral_graph_emulated", "DEF")
    for name in OPERATORS:
        schema = str(getattr(torch.ops.spectral_graph, name).default._schema)
        namespace.define(schema.removeprefix("spectral_graph::"))
    torch.ops.load_library(str(library))
    return namespace


def sparse(lengths, columns: int, dtype=np.float32):
    return tuple(map(torch.from_numpy, matrix(lengths, columns, dtype=dtype)))


class Comparison:
    """Calls both operators of a name and counts what was compared."""

    def __init__(self) -> None:
        self.count = 0
        self.real, self.emulated = torch.ops.spectral_graph, torch.ops.spectral_graph_emulated

    def results(self, name: str, *arguments, rtol: float = 0, atol: float = 0) -> None:
        """Both give the same, within a tolerance; 0 means exactly."""
        got, expected = getattr(self.emulated, name)(*arguments), getattr(self.real, name)(*arguments)
        torch.testing.assert_close(got, expected, rtol=rtol, atol=atol, equal_nan=False)
        self.count += 1

    def refusals(self, name: str, *arguments) -> None:
        """Both refuse the arguments in the same words."""
        texts = []
        for operators in (self.emulated, self.real):
            try:
                getattr(operators, name)(*arguments)
            except RuntimeError as error:
                texts.append(str(error).splitlines()[0])
        assert len(texts) == 2, f"{name} takes bad arguments"
        assert texts[0] == texts[1], f"{texts[0]!r} is not {texts[1]!r}"
        self.count += 1


def check_products(compare: Comparison, generator: torch.Generator) -> None:
    """csr_spmm, csr_sddmm and rayleigh."""
    for lengths in ([3, 0, 5, 40 * SEGMENT, 1], [0, 0, 0], []):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            csr = sparse(lengths, 30, np.float64 if dtype == torch.float64 else np.float32)
            x = torch.randn(30, 50, generator=generator).to(dtype)
            for check in (True, False):
                compare.results("csr_spmm", *csr, x, check, rtol=1e-4, atol=1e-3)
            if dtype != torch.bfloat16:
                a = torch.randn(len(lengths), 50, generator=generator).to(dtype)
                compare.results("csr_sddmm", *csr[:2], a, x, rtol=1e-4, atol=1e-4)
        csr, n = sparse(lengths, max(1, len(lengths))), len(lengths)
        u, inverse = torch.randn(n, 50, generator=generator), torch.rand(n, generator=generator)
        compare.results("rayleigh", *csr, inverse, u, rtol=1e-4, atol=2e-3)
    indptr, indices, values = sparse([2, 3, 4], 3)
    x, inverse = torch.randn(3, 4, generator=generator), torch.rand(3)
    falling, outside, late = indptr.clone(), indices.clone(), indptr.clone()
    falling[1], outside[5], late[0] = 7, 3, 1
    for bad in (
        (falling, indices, values),
        (indptr, outside, values),
        (late, indices, values),
        (indptr[:-1], indices, values),
        (indptr[:0], indices, values),
        (indptr, indices, values[:-1]),
        (indptr, indices.long(), values),
    ):
        compare.refusals("csr_spmm", *bad, x)
        compare.refusals("csr_transpose", *bad, 3)
        if len(bad[0]) != len(indptr):  # two faults: which one is named may differ
            continue
        compare.refusals("rayleigh", *bad, inverse, x)
        compare.refusals("csr_symmetrise", *bad, 3)
        if len(bad[2]) == len(values):
            compare.refusals("csr_sddmm", *bad[:2], x, x)
    for bad_x in (x.T, x.int(), x[0]):
        compare.refusals("csr_spmm", indptr, indices, values, bad_x)
        compare.refusals("csr_sddmm", indptr, indices, bad_x, x)
        compare.refusals("rayleigh", indptr, indices, values, inverse, bad_x)
    compare.refusals("rayleigh", indptr, indices, values, inverse[:-1], x)
    compare.refusals("rayleigh", indptr, indices, values, inverse, x[:-1])
    compare.refusals("csr_sddmm", indptr, indices, x[:-1], x)
    compare.refusals("csr_sddmm", indptr, indices, x, x[:, :-1])


def check_steps(compare: Comparison, generator: torch.Generator) -> None:
    """chebyshev_step_, in place."""
    for lengths in ([3, 0, 5, 40 * SEGMENT, 1], [0, 0, 0], []):
        csr, rows = sparse(lengths, 30), len(lengths)
        x = torch.randn(30, 50, generator=generator)
        own, y = (torch.randn(rows, 50, generator=generator) for _ in range(2))
        for gain, shift, keep, check in ((1.5, -0.25, -1.0, True), (0.5, 2.0, 0.0, False)):
            both = []
            for operators in (compare.emulated, compare.real):
                to = y.clone() if keep else torch.full_like(y, torch.nan)
                operators.chebyshev_step_(*csr, x, own, to, gain, shift, keep, check)
                both.append(to)
            torch.testing.assert_close(*both, rtol=1e-4, atol=2e-3)
            compare.count += 1
    indptr, indices, values = sparse([2, 3, 4], 3)
    x = torch.randn(3, 4, generator=generator)
    falling, outside = indptr.clone(), indices.clone()
    falling[1], outside[5] = 7, 3
    for request in (
        (indptr, indices, values, x.double(), x, x),
        (indptr, indices, values, x, x[:2], x),
        (indptr, indices, values, x, x, x[:, :3].contiguous()),
        (indptr, indices, values, x, x, x.T),
        (indptr, indices, values.double(), x, x, x),
        (indptr, indices, values[1:], x, x, x),
        (falling, indices, values, x, x, x),
        (indptr, outside, values, x, x, x),
    ):
        compare.refusals("chebyshev_step_", *request, 1.0, 1.0, 1.0, True)


def check_rows(compare: Comparison, generator: torch.Generator) -> None:
    """unit_project within a few roundings; cosine_topc and cell_topc of small whole numbers, exactly."""
    for rows, depth, width in ((0, 5, 2), (90, 64, 7), (33, 21, 0)):
        x, mean = torch.randn(rows, depth, generator=generator), torch.randn(depth, generator=generator)
        basis = torch.randn(depth, width, generator=generator)
        for dtype in (torch.float32, torch.float16):
            compare.results("unit_project", x.to(dtype), mean, basis, rtol=1e-5, atol=1e-5)
    compare.refusals("unit_project", x.double(), mean, basis)
    compare.refusals("unit_project", x, mean[1:], basis)
    compare.refusals("unit_project", x, mean, basis[1:])
    compare.refusals("unit_project", x.T, mean, basis)
    for dtype in (np.float32, np.float16):
        cosines = list(map(torch.from_numpy, cosine_problem(40, 300, 24, 90, dtype)))
        cells = list(map(torch.from_numpy, cell_problem(40, [30, 0, 90, 7], 24, 3, dtype)))
        for c in (0, 1, 20, 300):
            compare.results("cosine_topc", *cosines, c, 0.5)
            compare.results("cell_topc", *cells, c)
    for problem, more in ((cosines, (5, 0.0)), (cells, (5,))):
        name = "cosine_topc" if problem is cosines else "cell_topc"
        for at in range(6):
            wrong = [part[1:] if k == at else part for k, part in enumerate(problem)]
            if name != "cell_topc" or at != 4:  # any later starts are starts
                compare.refusals(name, *wrong, *more)
            wrong = [part.bool() if k == at else part for k, part in enumerate(problem)]
            compare.refusals(name, *wrong, *more)
        last = problem[5].clone()
        last[[9, 30], [1, 2]] = torch.tensor([300, 400], dtype=torch.int32)
        compare.refusals(name, *problem[:5], last, *more)
        compare.refusals(name, *problem, -1, *more[1:])
    compare.refusals("cosine_topc", *cosines, 5, -0.5)
    for wrong in ([5, 3, 9], [-1, 3], [0, 1 << 20], []):
        compare.refusals("cell_topc", *cells[:4], torch.tensor(wrong, dtype=torch.int64), cells[5], 5)


def check_matrices(compare: Comparison) -> None:
    """csr_transpose and csr_symmetrise, exactly; degrees within a rounding."""
    for lengths in ([3, 0, 5, 700, 1, *[2] * 40], [0, 0, 0], []):
        n = len(lengths)
        indptr, indices, values = sparse(lengths, max(1, n))
        compare.results("csr_transpose", indptr, indices, values, n + 2)
        compare.results("csr_transpose", indptr, indices, values.double(), n)
        compare.results("csr_symmetrise", indptr, indices, values, n, rtol=1e-6, atol=1e-7)
        row_of = torch.repeat_interleave(torch.arange(n), indptr.diff())
        in_order = (row_of * (n + 1) + indices).argsort()
        compare.results("csr_symmetrise", indptr, indices[in_order], values, n, rtol=1e-6, atol=1e-7)
    compare.refusals("csr_symmetrise", *sparse([2, 3, 4], 3), 4)
    compare.refusals("csr_transpose", *sparse([2, 3, 4], 3), -1)


def check_dense(compare: Comparison, generator: torch.Generator) -> None:
    """gram, rotate and adam_rows_."""
    for rows in (0, 1, 3000):
        x, y = torch.randn(rows, 50, generator=generator), torch.randn(rows, 3, generator=generator)
        u = torch.randn(50, 70, generator=generator, dtype=torch.float64)
        compare.results("gram", x, None, rtol=1e-12, atol=1e-10)
        compare.results("gram", x, y, rtol=1e-12, atol=1e-10)
        compare.results("rotate", x, u, rtol=1e-6, atol=1e-6)
    compare.refusals("gram", torch.zeros(3, 2), torch.zeros(4, 2))
    compare.refusals("rotate", torch.zeros(3, 2), torch.zeros(3, 2).double())
    for dtype in (torch.int64, torch.float32):
        step = torch.arange(1, 41).to(dtype)
        state = [torch.rand(40, 50, generator=generator) for _ in range(4)]
        both = []
        for operators in (compare.emulated, compare.real):
            x, m, v, gradient = (part.clone() for part in state)
            operators.adam_rows_(x, m, v, gradient, step, 0.05, 0.9, 0.999, 1e-8)
            both.append((x, m, v))
        torch.testing.assert_close(*both, rtol=2e-6, atol=1e-7)
        early = step.clone()
        early[17] = 0
        before = [part.clone() for part in state]
        compare.refusals("adam_rows_", *state, early, 0.05, 0.9, 0.999, 1e-8)
        assert all(torch.equal(*pair) for pair in zip(state, before, strict=True)), "a refusal changed something"
    compare.refusals("adam_rows_", *state, step.int(), 0.05, 0.9, 0.999, 1e-8)
    compare.refusals("adam_rows_", *state, step[1:], 0.05, 0.9, 0.999, 1e-8)
    compare.refusals("adam_rows_", *state, step, 0.05, 1.0, 0.999, 1e-8)
    compare.refusals("adam_rows_", state[0], state[1][1:], *state[2:], step, 0.05, 0.9, 0.999, 1e-8)


def check_selection(compare: Comparison, generator: torch.Generator) -> None:
    """topc_affinity and topc_merge, exactly."""
    # Small whole numbers: every product is exact, so the graphs must be the same.
    query, key = (torch.randint(-3, 4, (130, 8), generator=generator).float() for _ in range(2))
    ptr = torch.tensor([0, 40, 40, 41, 130])
    for request in ((query, key, ptr, 5, 20, 0.0), (query, query, ptr, 200, 0, 2.0), (query, query, ptr, 0, 200, 0.0)):
        compare.results("topc_affinity", *request, False)
    compare.results("topc_affinity", query[:0], key[:0], torch.tensor([0]), 3, 3, 0.0, False)
    for wrong in (torch.tensor([1, 130]), torch.tensor([0, 90, 40, 130]), torch.tensor([0, 131])):
        compare.refusals("topc_affinity", query, key, wrong, 3, 3, 0.0, False)
    lists = [sparse(torch.randint(0, 9, (50,), generator=generator).tolist(), 30) for _ in range(18)]
    columns = tuple([one[k] for one in lists] for k in range(3))
    for c in (0, 1, 7, 1000):
        compare.results("topc_merge", *columns, c)
    starts, indices, values = columns
    compare.refusals("topc_merge", starts, indices[1:], values, 3)
    compare.refusals("topc_merge", starts, indices, values, -1)
    compare.refusals("topc_merge", [starts[0][:-1], *starts[1:]], indices, values, 3)
    falling = starts[3].clone()
    falling[4] = 999
    compare.refusals("topc_merge", [*starts[:3], falling, *starts[4:]], indices, values, 3)


def check() -> int:
    """Compare results and texts; return the number of comparisons."""
    compare, generator = Comparison(), torch.Generator().manual_seed(0)
    check_products(compare, generator)
    check_steps(compare, generator)
    check_rows(compare, generator)
    check_matrices(compare)
    check_dense(compare, generator)
    check_selection(compare, generator)
    return compare.count


if __name__ == "__main__":
    declared = load(build(Path(sys.argv[1])))
    assert ops.compiled(), "the CPU's operators are not compiled"
    sys.stdout.write(f"{check()} comparisons with the CPU's operators\n")
