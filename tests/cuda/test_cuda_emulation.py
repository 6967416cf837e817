"""The CUDA kernels, compiled by g++ and executed in emulation, against NumPy; no GPU takes part."""

from __future__ import annotations

import emulator
import kernel_cases
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(bool(emulator.missing()), reason=emulator.missing() or "-")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_kernel_in_several_thread_orders(driver, seed):
    with emulator.Emulator(driver, seed) as run:
        assert kernel_cases.check_all(run) > 50


def test_results_do_not_depend_on_the_thread_order(driver):
    indptr, indices, values = kernel_cases.matrix(kernel_cases.spmm_lengths()["hubs"], 37)
    x = np.random.default_rng(0).standard_normal((37, 50)).astype(np.float32)
    tall = np.random.default_rng(0).standard_normal((3000, 9)).astype(np.float32)
    results = set()
    for seed in range(4):
        with emulator.Emulator(driver, seed) as run:
            (y,) = run("csr_spmm_float32", indptr, indices, values, x, np.array([50, 0]))
            (gram,) = run("gram", tall, tall[:0], np.array([3000, 9, 9, 1]))
        results.add(y + gram)
    assert len(results) == 1


@pytest.mark.parametrize("channels", [16, 50, 64, 100, 128])
def test_spmm_leaves_few_threads_idle(driver, channels):
    vector = 4 if channels % 4 == 0 else 2
    with emulator.Emulator(driver) as run:
        (raw,) = run("spmm_sizes", np.array([70_000, 2_000_000, channels, vector]))
    _, lanes, threads, groups, tiles = np.frombuffer(raw, np.int64)
    assert lanes * vector * tiles == channels
    assert groups * lanes / threads > 0.97


def test_sizes_beyond_32_bits(driver):
    with emulator.Emulator(driver) as run:
        (raw,) = run("spmm_sizes", np.array([2**33, 2**40, 50, 2]))
        segments, *_ = np.frombuffer(raw, np.int64)
        assert segments == (2**33 + 2**40) // kernel_cases.SEGMENT
        with pytest.raises(emulator.KernelError, match=f"grid of {segments} x 1 blocks"):
            run("grid", np.array([segments, 1]))
        with pytest.raises(emulator.KernelError, match="at most 2147483647 x 65535"):
            run("grid", np.array([1, 65536]))
        (raw,) = run("gram_sizes", np.array([2**36, 50, 50]))
        chunks, chunk_rows, *_ = np.frombuffer(raw, np.int64)
        assert chunks <= 512 and chunks * chunk_rows >= 2**36


def test_spmm_reaches_elements_beyond_32_bits(driver):
    with emulator.Emulator(driver) as run:
        assert kernel_cases.far_product(run) == [5.0, 21.0]


def test_a_fault_in_a_case_is_seen(driver):
    """The comparison itself: a wrong reference must fail."""
    with emulator.Emulator(driver) as run:
        scores = kernel_cases.tied_scores(20)
        wrong = lambda *request: run(*request[:1], -request[1], *request[2:])  # noqa: E731
        with pytest.raises(AssertionError, match="topc"):
            kernel_cases.check_topc(wrong, scores, [20], 3, 0, 0.0)
