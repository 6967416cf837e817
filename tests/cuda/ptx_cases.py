"""nvcc's PTX of the product and of the selection: right results, and no more memory sectors than they need."""

from __future__ import annotations

import numpy as np
from kernel_cases import SEGMENT, best_pairs, matrix, product
from ptx_program import find_kernel
from ptx_run import run

WARP = 32


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


def check_spmm(ptx: str, lengths, channels: int, vector: int, threads: int, seed: int) -> str:
    """All passes of csr_spmm; returns a line on the reads of x."""
    indptr, indices, values = matrix(lengths, 23)
    x = np.random.default_rng(1).standard_normal((23, channels)).astype(np.float32)
    rows, entries = len(lengths), len(indices)
    segments, lanes = -(-(rows + entries) // SEGMENT), channels // vector
    first_row = np.full(segments + 1, -1, np.int64)
    y = np.full((rows, channels), np.nan, np.float32)
    carry = np.full((segments, channels), np.nan, np.float32)
    plan = [i64(rows), i64(entries), i64(segments), indptr, first_row]
    run(find_kernel(ptx, "spmm_plan"), -(-(segments + 1) // 256), 256, plan, seed)
    name, blocks = f"IfLi{vector}E", -(-segments // (threads // lanes))
    sizes = [i64(rows), i64(entries), i64(segments), i64(channels), i32(lanes)]
    arrays = [first_row, indptr, indices, values, x, y, carry]
    count, launch = run(find_kernel(ptx, f"spmm_segments{name}"), blocks, threads, sizes + arrays, seed)
    arguments = [i64(segments), i64(channels), i32(lanes), first_row, indptr, carry, y]
    run(find_kernel(ptx, f"spmm_join_short{name}"), blocks, threads, arguments, seed)
    run(find_kernel(ptx, f"spmm_join_long{name}"), -(-segments // WARP), threads, arguments, seed)
    expected, size = product(indptr, indices, values, x)
    steps = np.array(lengths)[:, None] + 2
    assert (np.abs(y - expected) <= steps * np.finfo(np.float32).eps * size).all(), "the PTX of csr_spmm is wrong"
    requests, used, asked = sectors(launch, ("ld.global", f"v{vector}.f32"))
    assert asked == entries * channels * 4, "elements of x are read twice, or not at all"
    # A row that is no multiple of 32 bytes touches up to one sector more than it fills; where a group of threads
    # passes the end of a warp, the two parts may share a sector.
    row_bytes = channels * 4
    most = row_bytes // 32 if row_bytes % 32 == 0 else row_bytes / 32 + 2
    assert used <= entries * most, f"{used} sectors for {entries} rows of {row_bytes} bytes"
    return (
        f"csr_spmm C = {channels}, V = {vector}: {used / requests:.2f} sectors a request, "
        f"{used / entries:.2f} a row of x ({row_bytes / 32:.2f} full ones), {count} instructions"
    )


def check_topc(ptx: str, seed: int) -> str:
    """Selection among all other images; returns a line on the reads of the scores."""
    rows, columns, places, capacity, warps = 9, 700, 5, 256, 4
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
        found = sorted(zip((~keys).astype(np.uint32).tolist(), (keys >> np.uint64(32)).tolist(), strict=True))
        span = slice(indptr[row], indptr[row + 1])
        wanted = list(zip(indices[span].tolist(), values[span].view(np.uint32).tolist(), strict=True))
        assert found == wanted, "the PTX of topc_select is wrong"
    requests, used, asked = sectors(launch, ("ld.global", ".f32"))
    assert used <= 4 * requests, f"{used} sectors for {requests} requests of 128 bytes"
    assert used * 32 <= 1.1 * asked, f"{used} sectors for {asked} bytes of scores"
    return f"topc_select: {used / requests:.2f} sectors a request of at most 4, {count} instructions"


def check_all(ptx: str) -> list[str]:
    """All cases in two orders of threads; returns the lines of the second."""
    mixed = np.random.default_rng(0).integers(0, 12, 90).tolist()
    hub = [3, 0, 34 * SEGMENT, 2]
    for seed in (0, 3):
        lines = [
            check_spmm(ptx, mixed, 50, 2, 256, seed),
            check_spmm(ptx, mixed, 64, 4, 256, seed),
            check_spmm(ptx, hub, 4, 2, 64, seed),
            check_topc(ptx, seed),
        ]
    return lines
