"""nvcc's PTX of the products and of the selections: right results, and no more memory sectors than they need.

python tests/cuda/ptx_cases.py FILE.ptx   runs all cases
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matrices import SEGMENT, matrix, product
from product_cases import balanced, rounded_bf16
from ptx_program import find_kernel
from ptx_run import run
from row_cases import best_cosines, best_keys, cell_problem, cosine_problem
from topc_cases import best_pairs

WARP, THREADS = 32, 256
SYMBOLS = {"float32": "ff", "bfloat16": "fNS0_4Bf16E"}
"""The types of a product in the kernels' mangled names."""


def i64(value: int) -> tuple[str, int]:
    return "s64", value


def i32(value: int) -> tuple[str, int]:
    return "s32", value


def sectors(launch, words: tuple[str, ...]) -> tuple[int, int, int]:
    """Requests, sectors and bytes of the instructions that hold all `words`."""
    found = [numbers for text, numbers in launch.traffic().items() if all(word in text for word in words)]
    if not found:
        raise AssertionError(f"no instruction with {words}")
    return tuple(map(sum, zip(*found, strict=True)))


class Product:
    """A matrix with its plan, and the launches of one product over its segments."""

    def __init__(self, ptx: str, csr, columns: int, channels: int, vector: int, seed: int):
        self.ptx, self.csr, self.channels, self.vector, self.seed = ptx, csr, channels, vector, seed
        self.rows, self.entries, self.columns = len(csr[0]) - 1, len(csr[1]), columns
        self.segments, self.lanes = -(-(self.rows + self.entries) // SEGMENT), channels // vector
        self.first_row = np.full(self.segments + 1, -1, np.int64)
        self.carry = np.full((self.segments, channels), np.nan, np.float32)
        self.result = np.full((self.rows, channels), np.nan, np.float32)
        plan = [i64(self.rows), i64(self.entries), i64(self.segments), csr[0], self.first_row]
        run(find_kernel(ptx, "segment_plan"), -(-(self.segments + 1) // THREADS), THREADS, plan, seed)

    @property
    def blocks(self) -> int:
        return -(-self.segments * self.lanes // THREADS)

    def walk(self, name: str, arrays):
        """Run the kernel over the segments, then the joins; return its instructions and its launch."""
        sizes = [i64(self.rows), i64(self.entries), i64(self.segments), i64(self.channels), i32(self.lanes)]
        arguments = [*sizes, self.first_row, *self.csr[:2], *arrays]
        count, launch = run(find_kernel(self.ptx, name), self.blocks, THREADS, arguments, self.seed)
        joined = [i64(self.segments), i64(self.channels), i32(self.lanes), self.first_row, self.csr[0]]
        joined += [self.carry, self.result]
        name = f"IfLi{self.vector}E"
        run(find_kernel(self.ptx, f"join_short{name}"), self.blocks, THREADS, joined, self.seed)
        run(find_kernel(self.ptx, f"join_long{name}"), -(-self.segments // WARP), THREADS, joined, self.seed)
        return count, launch

    def reads(self, launch, element: int, kind: str) -> str:
        """Assert that x is read once, in few sectors; return a line on it."""
        requests, used = self.rows_read(launch, f"ld.global.nc.v{self.vector}.{kind}", self.entries, element)
        row_bytes = self.channels * element
        return (
            f"C = {self.channels}, V = {self.vector}: {used / requests:.2f} sectors a request, "
            f"{used / self.entries:.2f} a row of x ({row_bytes / 32:.2f} full ones)"
        )

    def rows_read(self, launch, instruction: str, rows: int, element: int) -> tuple[int, int]:
        """Assert that this many rows are read, in few sectors; return the requests and the sectors."""
        requests, used, asked = sectors(launch, (instruction,))
        row_bytes = self.channels * element
        assert asked == rows * row_bytes, f"{instruction} reads {asked} bytes and not {rows} rows of {row_bytes}"
        # A row that is no multiple of 32 bytes touches up to one sector more than it fills; where a group of threads
        # passes the end of a warp, the two parts may share a sector.
        most = row_bytes // 32 if row_bytes % 32 == 0 else row_bytes / 32 + 2
        assert used <= rows * most, f"{used} sectors for {rows} rows of {row_bytes} bytes"
        return requests, used


def check_spmm(ptx: str, lengths, channels: int, vector: int, seed: int, dtype: str = "float32") -> str:
    """All passes of csr_spmm; returns a line on the reads of x."""
    csr = matrix(lengths, 23)
    x = np.random.default_rng(1).standard_normal((23, channels)).astype(np.float32)
    given, x = rounded_bf16(x) if dtype == "bfloat16" else (x, x)
    walk = Product(ptx, csr, 23, channels, vector, seed)
    name = f"spmm_segmentsI{SYMBOLS[dtype]}Li{vector}E"
    count, launch = walk.walk(name, [csr[2], given, walk.result, walk.carry])
    expected, size = product(*csr, x)
    steps = np.array(lengths)[:, None] + 2
    close = np.abs(walk.result - expected) <= steps * np.finfo(np.float32).eps * size
    assert close.all(), "the PTX of csr_spmm is wrong"
    line = walk.reads(launch, given.itemsize, "u16" if dtype == "bfloat16" else "f32")
    return f"csr_spmm of {dtype}, {line}, {count} instructions"


def check_step(ptx: str, lengths, channels: int, vector: int, seed: int, keep: float) -> str:
    """All passes of chebyshev_step_; own and y are read once, y not at all where it is not kept."""
    csr, generator = matrix(lengths, 23), np.random.default_rng(4)
    x, own, y = (generator.standard_normal((n, channels)).astype(np.float32) for n in (23, len(lengths), len(lengths)))
    walk = Product(ptx, csr, 23, channels, vector, seed)
    if keep:
        walk.result[:] = y
    by = [("f32", 1.75), ("f32", -0.5), ("f32", keep)]
    count, launch = walk.walk(f"step_segmentsILi{vector}E", [csr[2], x, own, walk.result, walk.carry, by])
    total, size = product(*csr, x)
    expected, size = 1.75 * total - 0.5 * own + keep * y, 1.75 * size + np.abs(own) + np.abs(y)
    close = np.abs(walk.result - expected) <= (np.array(lengths)[:, None] + 6) * np.finfo(np.float32).eps * size
    assert close.all(), "the PTX of chebyshev_step_ is wrong"
    walk.rows_read(launch, f"ld.global.v{vector}.f32", (2 if keep else 1) * len(lengths), 4)
    return f"chebyshev_step_, keep {keep}, {walk.reads(launch, 4, 'f32')}, {count} instructions"


def check_rayleigh(ptx: str, lengths, channels: int, vector: int, seed: int) -> str:
    """All passes of rayleigh; returns a line on its length."""
    n = len(lengths)
    csr, generator = matrix(lengths, n), np.random.default_rng(2)
    u = generator.standard_normal((n, channels)).astype(np.float32)
    inverse_degree = generator.random(n).astype(np.float32)
    walk = Product(ptx, csr, n, channels, vector, seed)
    partial, s = np.full((walk.blocks, channels), np.nan), np.full(channels, np.nan)
    arrays = [csr[2], inverse_degree, u, walk.result, walk.carry, partial]
    count, _ = walk.walk(f"rayleigh_segmentsILi{vector}E", arrays)
    sums = [i64(walk.blocks), i64(channels), ("f64", 0.5), partial, s]
    run(find_kernel(ptx, "rayleigh_sum"), -(-channels // 8), THREADS, sums, seed)
    expected, size = balanced(*csr, inverse_degree, u)
    bound = (np.array(lengths)[:, None] + 4) * np.finfo(np.float32).eps * size
    assert (np.abs(walk.result - expected) <= bound).all(), "the PTX of rayleigh has a wrong gradient"
    error = np.abs(s - 0.5 * (u * expected).sum(axis=0))
    assert (error <= 0.5 * (np.abs(u) * bound).sum(axis=0)).all(), "the PTX of rayleigh has a wrong s"
    return f"rayleigh C = {channels}, V = {vector}: {count} instructions"


def check_topc(ptx: str, seed: int) -> str:
    """Selection among all other images; returns a line on the reads of the scores."""
    rows, columns, places, capacity, warps = 5, 500, 5, 256, 4
    generator = np.random.default_rng(5)
    scores = (generator.integers(-9, 60, (rows, columns)) / 16).astype(np.float32)
    image_ptr = np.array([0, 4, rows, 300, columns], np.int64)
    lists = np.zeros((columns, places), np.uint64)
    block = [scores, i64(rows), i64(columns), i64(0), i64(0)]
    arguments = [block, i64(4), image_ptr, ("u8", 0), i32(places), i32(capacity), ("f32", 0.25), lists]
    kernel = find_kernel(ptx, "topc_select")
    count, launch = run(kernel, -(-rows // warps), warps * WARP, arguments, seed, dynamic=8 * capacity * warps)
    whole = np.full((columns, columns), -1, np.float32)
    whole[:rows] = scores
    indptr, indices, values = best_pairs(whole, image_ptr, 0, places, 0.25)
    for row in range(rows):
        keys = lists[row][lists[row] > 0]
        ordered = (keys >> np.uint64(32)) & np.uint64(0x7FFFFFFF)  # of a positive value: its bits below the sign
        found = sorted(zip((~keys).astype(np.uint32).tolist(), ordered.tolist(), strict=True))
        span = slice(indptr[row], indptr[row + 1])
        wanted = list(zip(indices[span].tolist(), values[span].view(np.uint32).tolist(), strict=True))
        assert found == wanted, "the PTX of topc_select is wrong"
    requests, used, asked = sectors(launch, ("ld.global", ".f32"))
    assert used <= 4 * requests, f"{used} sectors for {requests} requests of 128 bytes"
    assert used * 32 <= 1.1 * asked, f"{used} sectors for {asked} bytes of scores"
    return f"topc_select: {used / requests:.2f} sectors a request of at most 4, {count} instructions"


def check_unit(ptx: str, seed: int) -> str:
    """Unit rows of float16; returns a line on the reads, which are two of each row."""
    rows, depth = 9, 384
    generator = np.random.default_rng(6)
    x, mean = generator.standard_normal((rows, depth)).astype(np.float16), np.ones(depth, np.float32)
    unit, inverse = np.full((rows, depth), np.nan, np.float32), np.full(rows, np.nan, np.float32)
    kernel = find_kernel(ptx, "unit_rowsINS0_4HalfELi4E")
    arguments = [i64(rows), i64(depth), x, mean, unit, inverse]
    count, launch = run(kernel, -(-rows * WARP // THREADS), THREADS, arguments, seed)
    centred = x.astype(float) - 1
    norm = np.linalg.norm(centred, axis=1)
    assert np.abs(inverse * norm - 1).max() < 1e-6, "the PTX of unit_project has a wrong scale"
    assert np.abs(unit - centred / norm[:, None]).max() < 1e-6, "the PTX of unit_project is wrong"
    requests, used, asked = sectors(launch, ("ld.global.nc.v4.u16",))
    assert asked == 2 * x.nbytes and used * 32 == asked, f"{used} sectors for {asked} bytes of rows"
    return f"unit_project of float16: {used / requests:.2f} sectors a request, {count} instructions"


def check_lists(ptx: str, name: str, shape, arrays, queries: int, expected, seed: int) -> str:
    """A search of the best by dot products of 64 columns; returns a line on the reads of its rows."""
    places, capacity, warps = expected[0].shape[1], 128, 4
    columns, values = np.full((queries, places), -9, np.int32), np.full((queries, places), np.nan, np.float32)
    half = np.float16 in [array.dtype for array in arrays]
    kernel = find_kernel(ptx, f"{name}_rowsI{'NS0_4HalfE' if half else 'f'}Li4E")
    arguments = [shape, i32(places), i32(capacity), *arrays, columns, values]
    count, launch = run(kernel, -(-queries // warps), warps * WARP, arguments, seed, dynamic=8 * capacity * warps)
    assert (columns == expected[0]).all() and (values == expected[1]).all(), f"the PTX of {name} is wrong"
    requests, used, asked = sectors(launch, (f"ld.global.nc.v4.{'u16' if half else 'f32'}",))
    assert used * 32 <= asked, f"{used} sectors for {asked} bytes of rows"
    return f"{name}: {used / requests:.2f} sectors a request, {count} instructions"


def check_cosines(ptx: str, seed: int) -> str:
    """cosine_topc of float16."""
    problem = cosine_problem(5, 40, 64, 38, np.float16)
    shape = [i64(5), i64(64), i64(38), i64(6), ("f32", 0.5)]
    return check_lists(ptx, "cosine_topc", shape, problem, 5, best_cosines(problem, 6, 0.5), seed)


def check_cells(ptx: str, seed: int) -> str:
    """cell_topc of float32."""
    problem = cell_problem(5, [20, 0, 37], 64, 2)
    shape = [i64(5), i64(64), i64(2), i64(6)]
    return check_lists(ptx, "cell_topc", shape, problem, 5, best_keys(problem, 6), seed)


def check_all(ptx: str, seeds=(0, 3)) -> list[str]:
    """All cases in these orders of threads; returns the lines of the last."""
    mixed = np.random.default_rng(0).integers(0, 12, 60).tolist()
    hub = [3, 0, 34 * SEGMENT, 2]
    for seed in seeds:
        lines = [
            check_spmm(ptx, mixed, 50, 2, seed),
            check_spmm(ptx, mixed, 64, 4, seed),
            check_spmm(ptx, mixed, 50, 2, seed, "bfloat16"),
            check_spmm(ptx, hub, 4, 4, seed),
            check_step(ptx, mixed, 50, 2, seed, -1.0),
            check_step(ptx, hub, 4, 4, seed, 0.0),
            check_rayleigh(ptx, mixed, 50, 2, seed),
            check_topc(ptx, seed),
            check_unit(ptx, seed),
            check_cosines(ptx, seed),
            check_cells(ptx, seed),
        ]
    return lines


if __name__ == "__main__":
    text = Path(sys.argv[1]).read_text()
    sys.stdout.write("\n".join(check_all(text, tuple(map(int, sys.argv[2:])) or (0, 3))) + "\n")
