"""Ours and its peers, timed in turn in one process, after their results were compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.limits import least_seconds
from benchmarks.table import Row
from spectral_graph.memory import peak_bytes, reset_peak

LEAST_ROUNDS = 5

REPEATED_BELOW = 0.1
"""Seconds; quicker calls are timed right after an untimed one."""


def numbers(result: Any) -> list[np.ndarray]:
    """Return the arrays of a result: a tensor, an array, or several of them."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in numbers(part)]
    return [result.detach().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)]


def require_equal(name: str, result: Any, reference: Any, tolerance: float) -> None:
    """End the program unless `result` is `reference`, up to `tolerance` of the largest magnitude of each array."""
    for got, expected in zip(numbers(result), numbers(reference), strict=True):
        expected = expected.astype(np.float64)
        scale = float(np.abs(expected).max()) if expected.size else 0.0
        off = float(np.abs(got.astype(np.float64) - expected).max()) if expected.size else 0.0
        if not off <= tolerance * max(scale, 1e-30):
            raise SystemExit(f"{name}: the result is wrong: it is off by {off:.3g} where values reach {scale:.3g}")


def interleaved(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Return the median seconds of each call.

    The calls take turns, so that whatever else the machine does meets all of them alike; each is called twice before.
    A quick one is called twice in its turn, and the second call is timed: it finds the caches and its memory as it does
    in an iteration. Otherwise a call would find what the one before it left: results of peers lie in memory that the
    peer before has just given back to the C library and that is still in the cache.

    Args:
        calls: what is timed, by name.
        seconds: shortest duration; never less than five rounds.
    """
    for call in calls.values():
        call()
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(next(iter(taken.values()))) < LEAST_ROUNDS:
        for name, call in calls.items():
            if not taken[name] or taken[name][-1] < REPEATED_BELOW:
                call()
            start = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in taken.items()}


def extra_bytes(call: Callable[[], object]) -> int:
    """Return the peak memory of one call above what is there before it and what it returns; Linux only."""
    call()  # what a library sets up once does not count
    reset_peak()
    before = peak_bytes()
    result = call()
    return max(0, peak_bytes() - before - sum(array.nbytes for array in numbers(result)))


def compare(
    question: str,
    shape: str,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    *,
    work: tuple[float, float],
    seconds: float,
    channels: int | None = None,
    graph: str = "",
    memory: bool = False,
    limit: Callable[[], object] | None = None,
) -> list[Row]:
    """Time ours and every peer and return one row a peer, the best peer first.

    Args:
        question: what is asked.
        shape: of the problem, in words.
        ours: our call.
        peers: the peers' calls.
        work: floating-point operations, and bytes that must at least be moved.
        seconds: as in `interleaved`.
        channels: C, where the plot shows throughput over C.
        graph: name of the graph, for the plot.
        memory: measure the extra memory of each call too.
        limit: a call that does only what no other can do without; it takes its turns with them.
    """
    calls = {"": ours, **peers}
    sizes = {name: extra_bytes(call) for name, call in calls.items()} if memory else {}
    times = interleaved(calls if limit is None else {**calls, "limit": limit}, seconds)
    mine, reached = times.pop(""), times.pop("limit", None)
    least = least_seconds(*work)
    rows = [
        Row(
            question,
            shape,
            mine,
            peer,
            taken,
            least / mine,
            work[0],
            work[1],
            channels,
            graph,
            sizes.get(""),
            sizes.get(peer),
            reached,
        )
        for peer, taken in times.items()
    ]
    return sorted(rows, key=lambda row: row.peer_s)
