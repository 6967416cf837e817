"""What the machine can do at most, measured: copying memory, and multiplying dense matrices."""

from __future__ import annotations

import functools
import time

import torch

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
