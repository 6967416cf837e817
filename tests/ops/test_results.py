"""The memory of large results: blocks that are used again when a result is freed, and never before."""

from __future__ import annotations

import copy
import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from spectral_graph.memory import peak_bytes, reset_peak
from spectral_graph.ops import compiled, csr_spmm

ROWS = 40_000


def diagonal(rows=ROWS):
    return torch.arange(rows + 1), torch.arange(rows, dtype=torch.int32), torch.ones(rows)


def held_bytes():
    gc.collect()
    reset_peak()
    return peak_bytes()


def test_results_that_live_do_not_share_memory():
    matrix, generator, living = diagonal(), np.random.default_rng(0), []
    for step in range(60):
        x = torch.full((ROWS, int(generator.integers(10, 60))), float(step))  # 1.6 to 9.6 MB
        living.append((float(step), csr_spmm(*matrix, x)))
        if len(living) > 5:
            living.pop(int(generator.integers(len(living))))
        assert all(bool((y == value).all()) for value, y in living)


def test_views_and_arrays_keep_the_memory():
    matrix = diagonal()
    y = csr_spmm(*matrix, torch.full((ROWS, 32), 7.0))
    column, array = y[:, 3], y.numpy()
    copied = copy.deepcopy(y)
    del y
    gc.collect()
    others = [csr_spmm(*matrix, torch.full((ROWS, 32), float(k))) for k in range(4)]
    assert len(others) == 4
    assert bool((column == 7).all())
    assert bool((array == 7).all())
    assert bool((copied == 7).all())


def test_threads_at_the_same_time():
    matrix = diagonal()

    def work(number):
        right = True
        for step in range(15):
            value = 100.0 * number + step
            right &= bool((csr_spmm(*matrix, torch.full((ROWS, 20 + 3 * number), value)) == value).all())
        return right

    with ThreadPoolExecutor(4) as workers:
        assert all(workers.map(work, range(4)))


@pytest.mark.skipif(not compiled(), reason="the operators are not compiled")
def test_what_is_kept_is_bounded():
    matrix = diagonal(200_000)
    before = held_bytes()
    for channels in (20, 60, 100, 120, 80, 40, 50):  # 16 to 96 MB
        csr_spmm(*matrix, torch.ones(200_000, channels))
    assert held_bytes() - before < 120e6  # at most 101 MB are kept
