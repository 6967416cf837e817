"""The host sides of the CUDA operators, compiled by g++ over the emulation, against the operators of the CPU.

python tests/cuda/host_cases.py FOLDER   builds them there and compares
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import emulator
import numpy as np
import torch
from kernel_cases import SEGMENT, matrix
from torch.utils.cpp_extension import include_paths, library_paths

from spectral_graph import ops

OPERATORS = ("csr_spmm", "gram", "rotate", "topc_affinity")
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-DTORCH_TARGET_VERSION=0x020d000000000000")
SMALL_BLOCKS = ("-DSG_BLOCK_COLUMNS=48", "-DSG_BLOCK_SCORES=960")


def build(folder: Path) -> Path:
    """Return a library that registers the emulated operators in the namespace spectral_graph_emulated."""
    include = [f"-I{emulator.CSRC}", f"-I{emulator.EMULATION}", *(f"-isystem{path}" for path in include_paths())]
    sources = [emulator.CSRC / "cuda" / f"{name}.cu" for name in OPERATORS]
    sources += [emulator.EMULATION / f"{name}.cpp" for name in emulator.OWN]
    objects = [str(folder / f"{source.stem}.o") for source in sources]
    running = []
    for source, target in zip(sources, objects, strict=True):
        command = ["g++", *FLAGS, *SMALL_BLOCKS, *include, "-x", "c++", "-c", str(source), "-o", target]
        running.append(subprocess.Popen(command))
        if len(running) % 2 == 0 and any(job.wait() for job in running):
            raise RuntimeError("g++ fails")
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


def refusal(operator, *arguments) -> str:
    try:
        operator(*arguments)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    raise AssertionError("bad arguments were taken")


def check() -> int:
    """Compare results and texts; return the number of comparisons."""
    real, emulated = torch.ops.spectral_graph, torch.ops.spectral_graph_emulated
    generator, count = torch.Generator().manual_seed(0), 0
    for lengths in ([3, 0, 5, 40 * SEGMENT, 1], [0, 0, 0], []):
        for dtype in (np.float32, np.float64):
            csr = sparse(lengths, 30, dtype)
            x = torch.randn(30, 50, generator=generator, dtype=csr[2].dtype)
            for check in (True, False):
                got = emulated.csr_spmm(*csr, x, check)
                torch.testing.assert_close(got, real.csr_spmm(*csr, x, check), rtol=1e-4, atol=1e-3)
                count += 1
    indptr, indices, values = sparse([2, 3, 4], 30)
    x = torch.randn(30, 4, generator=generator)
    falling, outside, late = indptr.clone(), indices.clone(), indptr.clone()
    falling[1], outside[5], late[0] = 7, 30, 1
    for bad in (
        (falling, indices, values, x),
        (indptr, outside, values, x),
        (late, indices, values, x),
        (indptr[:-1], indices, values, x),
        (indptr, indices, values[:-1], x),
        (indptr, indices.long(), values, x),
        (indptr, indices, values, x.T),
    ):
        assert refusal(emulated.csr_spmm, *bad) == refusal(real.csr_spmm, *bad)
        count += 1
    for rows in (0, 1, 3000):
        x, y = torch.randn(rows, 50, generator=generator), torch.randn(rows, 3, generator=generator)
        u = torch.randn(50, 70, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(emulated.gram(x), real.gram(x), rtol=1e-12, atol=1e-10)
        torch.testing.assert_close(emulated.gram(x, y), real.gram(x, y), rtol=1e-12, atol=1e-10)
        torch.testing.assert_close(emulated.rotate(x, u), real.rotate(x, u), rtol=1e-6, atol=1e-6)
        count += 3
    # Small whole numbers: every product is exact, so the graphs must be the same.
    query, key = (torch.randint(-3, 4, (130, 8), generator=generator).float() for _ in range(2))
    ptr = torch.tensor([0, 40, 40, 41, 130])
    for request in ((query, key, ptr, 5, 20, 0.0), (query, query, ptr, 200, 0, 2.0), (query, query, ptr, 0, 200, 0.0)):
        for got, expected in zip(
            emulated.topc_affinity(*request, False), real.topc_affinity(*request, False), strict=True
        ):
            assert torch.equal(got, expected)
        count += 1
    none = emulated.topc_affinity(query[:0], key[:0], torch.tensor([0]), 3, 3, 0.0, False)
    assert [part.tolist() for part in none] == [[0], [], []]
    for wrong in (torch.tensor([1, 130]), torch.tensor([0, 90, 40, 130]), torch.tensor([0, 131])):
        request = (query, key, wrong, 3, 3, 0.0, False)
        assert refusal(emulated.topc_affinity, *request) == refusal(real.topc_affinity, *request)
        count += 1
    return count


if __name__ == "__main__":
    declared = load(build(Path(sys.argv[1])))
    assert ops.compiled(), "the CPU's operators are not compiled"
    sys.stdout.write(f"{check()} comparisons with the CPU's operators\n")
