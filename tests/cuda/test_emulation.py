"""The CUDA kernels, compiled by g++ and executed in emulation; no GPU takes part.

Here stands what `make cuda-check` does not do; it runs every kernel in several thread orders against NumPy.
"""

from __future__ import annotations

import emulator
import numpy as np
import product_cases
import pytest
import topc_cases
from matrices import SEGMENT, matrix, row_lengths

pytestmark = pytest.mark.skipif(bool(emulator.missing()), reason=emulator.missing() or "-")


def test_results_do_not_depend_on_the_thread_order(driver):
    lengths = row_lengths()["hubs"]
    indptr, indices, values = matrix(lengths, len(lengths))
    generator = np.random.default_rng(0)
    u = generator.standard_normal((len(lengths), 50)).astype(np.float32)
    inverse = generator.random(len(lengths)).astype(np.float32)
    tall = generator.standard_normal((3000, 9)).astype(np.float32)
    sizes, factors = np.array([50, 0]), np.array([1.5, -0.25, -1.0], np.float32)
    results = set()
    for seed in range(4):
        with emulator.Emulator(driver, seed) as run:
            parts = run("csr_spmm_float32", indptr, indices, values, u, sizes)
            parts += run("chebyshev_step", indptr, indices, values, u, u, u, np.array([50, 0, 0]), factors)
            parts += run("rayleigh", indptr, indices, values, inverse, u, sizes)
            parts += run("gram", tall, tall[:0], np.array([3000, 9, 9, 1]))
            parts += run("csr_symmetrise", indptr, indices, values)
        results.add(b"".join(parts))
    assert len(results) == 1


@pytest.mark.parametrize("channels", [3, 16, 50, 64, 100, 128])
def test_no_thread_is_idle_but_in_the_last_block(driver, channels):
    vector = next(v for v in (4, 2, 1) if channels % v == 0)
    groups = 70_001
    with emulator.Emulator(driver) as run:
        (raw,) = run("lane_sizes", np.array([groups, channels, vector]))
    lanes, tiles, blocks = np.frombuffer(raw, np.int64)
    assert lanes * vector * tiles == channels
    assert 0 <= blocks * 256 - groups * lanes < 256


def test_sizes_beyond_32_bits(driver):
    with emulator.Emulator(driver) as run:
        segments = 2**43 // SEGMENT
        with pytest.raises(emulator.KernelError, match=f"grid of {segments * 25 // 256} x 1 blocks"):
            run("lane_sizes", np.array([segments, 50, 2]))
        with pytest.raises(emulator.KernelError, match="at most 2147483647 x 65535"):
            run("grid", np.array([1, 65536]))
        (raw,) = run("gram_sizes", np.array([2**36, 50, 50]))
        chunks, chunk_rows, *_ = np.frombuffer(raw, np.int64)
        assert chunks <= 512 and chunks * chunk_rows >= 2**36


def test_spmm_reaches_elements_beyond_32_bits(driver):
    with emulator.Emulator(driver) as run:
        assert product_cases.far_product(run) == [5.0, 21.0]


def test_a_fault_in_a_case_is_seen(driver):
    """The comparison itself: a wrong reference must fail."""
    with emulator.Emulator(driver) as run:
        scores = topc_cases.tied_scores(20)
        wrong = lambda *request: run(*request[:1], -request[1], *request[2:])  # noqa: E731
        with pytest.raises(AssertionError, match="topc"):
            topc_cases.check_topc(wrong, scores, [20], 3, 0, 0.0)
