"""Exact leading eigenvectors by Chebyshev-filtered subspace iteration with Rayleigh-Ritz.

Source: Y. Zhou, Y. Saad, M. L. Tiago, J. R. Chelikowsky, "Self-consistent-field calculations using
Chebyshev-filtered subspace iteration", J. Comput. Phys. 219 (2006), https://doi.org/10.1016/j.jcp.2006.03.017.
Every array over nodes is memory-mapped; small (K, K) problems are solved in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from spectral_graph.bank import Bank
from spectral_graph.errors import SolverError
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.solve.streaming import chunks, gram_matrix, normal_rows, rotate_into, scratch, tensor

GUARD = 8
LARGEST_GROWTH = 1e5
RANK_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Round:
    """One round of filter and Rayleigh-Ritz.

    Attributes:
        index: number of the round, from 1.
        ritz: (K,) Ritz values, descending.
        residuals: (K,) norms of S x - ritz x for unit x.
    """

    index: int
    ritz: np.ndarray
    residuals: np.ndarray


def spectrum_bounds(operator: BlockOperator, seed: int, steps: int = 16) -> tuple[float, float]:
    """Return (lower, upper) bounds of the spectrum from a few Lanczos steps, widened by the last residual."""
    n = operator.shape[0]
    steps = min(steps, n)
    start = np.empty((n, 1), np.float32)
    normal_rows(start, seed, 1)
    basis = [start[:, 0].astype(np.float64) / np.linalg.norm(start.astype(np.float64))]
    alpha: list[float] = []
    beta: list[float] = []
    for _ in range(steps):
        w = (operator @ basis[-1].astype(np.float32)).astype(np.float64)
        alpha.append(float(w @ basis[-1]))
        for v in basis:
            w -= (w @ v) * v
        beta.append(float(np.linalg.norm(w)))
        if beta[-1] < 1e-6:
            break
        basis.append(w / beta[-1])
    ritz = eigh_tridiagonal(alpha, beta[: len(alpha) - 1], eigvals_only=True)
    return float(ritz[0] - beta[-1]), float(ritz[-1] + beta[-1])


def chebyshev(
    operator: BlockOperator,
    work: Path,
    channels: int,
    nodes_per_image: int,
    tol: float,
    degree: int,
    max_rounds: int,
    seed: int,
    on_round: Callable[[Round], None],
) -> tuple[Bank, list[Round]]:
    """Compute the eigenvectors of the largest eigenvalues of a symmetric operator.

    Args:
        operator: N x N.
        work: folder of the working state; an interrupted call goes on from its last complete round.
        channels: how many eigenvectors.
        nodes_per_image: noted in the bank.
        tol: stop when the residuals of all `channels` eigenvectors are at most this.
        degree: largest degree of the filter.
        max_rounds: rounds at most; the last residuals tell how far it came.
        seed: of the starting block.
        on_round: called after each round.

    Returns:
        A bank of (N, channels + guard) unit eigenvectors, eigenvalues descending, and the rounds.

    Raises:
        SolverError: fewer nodes than channels, or the operator is zero.
    """
    n = operator.shape[0]
    if channels > n:
        raise SolverError(f"--channels {channels}: the graph has only {n} nodes; lower it")
    width = min(n, channels + GUARD)
    if Bank.exists(work):
        bank = Bank.open(work)
        lower, upper = bank.notes["bounds"]
    else:
        bank = Bank(work, (n, width), ("X",), nodes_per_image)
        lower, upper = spectrum_bounds(operator, seed)
        if upper - lower < 1e-6:
            raise SolverError("the graph has no edges to embed; lower --threshold, or raise --c-intra and --c-inter")
        normal_rows(bank.begin()["X"], seed, 2)
        bank.commit(bounds=[lower, upper], rounds=[])
    rounds = [Round(r["index"], np.array(r["ritz"]), np.array(r["residuals"])) for r in bank.notes["rounds"]]
    with scratch(work, bank.shape, 3) as (first, second, product):
        while len(rounds) < max_rounds and not (rounds and rounds[-1].residuals[:channels].max() <= tol):
            if rounds:
                cut, top = float(rounds[-1].ritz[-1]), float(rounds[-1].ritz[0])
            else:
                cut, top = lower + 0.6 * (upper - lower), upper
            cut = max(cut, lower + 1e-3 * (top - lower))
            filtered = _filter(operator, bank.view(), first, second, product, lower, cut, top, degree)
            operator.apply(filtered, product)
            other = second if filtered is first else first
            target = bank.begin()["X"]
            result = _rayleigh_ritz(filtered, product, target, other, len(rounds) + 1, seed)
            rounds.append(result)
            bank.commit(bounds=[lower, upper], rounds=[_as_json(r) for r in rounds])
            on_round(result)
    return bank, rounds


def _filter(
    operator: BlockOperator,
    x: np.ndarray,
    previous: np.ndarray,
    current: np.ndarray,
    product: np.ndarray,
    lower: float,
    cut: float,
    top: float,
    degree: int,
) -> np.ndarray:
    """Apply the scaled Chebyshev polynomial that damps [lower, cut]; returns the scratch array with the result."""
    centre, half = (lower + cut) / 2, (cut - lower) / 2
    reach = max((top - centre) / half, 1.0 + 1e-6)
    # Beyond this growth float32 columns lose what they hold besides the leading eigenvector.
    degree = max(2, min(degree, math.floor(math.acosh(LARGEST_GROWTH) / math.acosh(reach))))
    sigma = first_sigma = 1 / reach
    operator.apply(x, product)
    for rows in chunks(len(x)):
        previous[rows] = x[rows]
        current[rows] = (product[rows] - np.float32(centre) * x[rows]) * np.float32(sigma / half)
    for _ in range(2, degree + 1):
        following = 1 / (2 / first_sigma - sigma)
        operator.apply(current, product)
        gain, loss = np.float32(2 * following / half), np.float32(sigma * following)
        for rows in chunks(len(x)):
            previous[rows] = gain * (product[rows] - np.float32(centre) * current[rows]) - loss * previous[rows]
        previous, current = current, previous
        sigma = following
    return current


def _rayleigh_ritz(y: np.ndarray, sy: np.ndarray, out: np.ndarray, rotated: np.ndarray, index: int, seed: int) -> Round:
    """Write the Ritz vectors of span(y) into `out`; sy = S y; `rotated` is working space."""
    gram = gram_matrix(y)
    scale = 1 / np.sqrt(np.maximum(np.diag(gram), np.finfo(np.float64).tiny))
    weights, vectors = eigh(gram * np.outer(scale, scale))
    kept = weights > RANK_TOLERANCE * weights[-1]
    whiten = (scale[:, None] * vectors[:, kept]) / np.sqrt(weights[kept])
    inner = whiten.T @ gram_matrix(y, sy) @ whiten
    ritz, turn = eigh((inner + inner.T) / 2)
    ritz, basis = ritz[::-1], whiten @ turn[:, ::-1]
    rank, width = basis.shape[1], y.shape[1]
    full = np.zeros((width, width))
    full[:, :rank] = basis
    rotate_into(y, full, out)
    rotate_into(sy, full, rotated)
    squares = np.zeros(width)
    values = np.zeros(width)
    values[:rank] = ritz
    for rows in chunks(len(y)):
        squares += np.square(rotated[rows] - out[rows] * values, dtype=np.float64).sum(axis=0)
    residuals = np.sqrt(squares)
    if rank < width:
        # Lost directions start again from random vectors; their residual says that they are not found yet.
        fresh = np.empty((len(y), width - rank), np.float32)
        normal_rows(fresh, seed, 2 + index)
        out[:, rank:] = fresh / np.linalg.norm(fresh, axis=0)
        values[rank:], residuals[rank:] = values[rank - 1], 1.0
    return Round(index, values, residuals)


def _as_json(result: Round) -> dict[str, object]:
    return {"index": result.index, "ritz": result.ritz.tolist(), "residuals": result.residuals.tolist()}


def rayleigh_quotients(operator: BlockOperator, x: np.ndarray, work: Path) -> np.ndarray:
    """Return x_c^T S x_c / x_c^T x_c for each column, (C,) float64."""
    with scratch(work, (x.shape[0], x.shape[1]), 1) as (product,):
        operator.apply(x, product)
        top, bottom = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for rows in chunks(len(x)):
            part = tensor(x[rows]).numpy().astype(np.float64)
            top += (part * product[rows]).sum(axis=0)
            bottom += np.square(part).sum(axis=0)
    return top / np.maximum(bottom, np.finfo(np.float64).tiny)
