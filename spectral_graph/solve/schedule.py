"""Which filter comes next, and which columns still need one.

A random column holds all eigenvectors in equal parts, and a filter p multiplies those of eigenvalue t by p(t): so the
estimated density of eigenvalues tells what is left of them after a filter, and which filter leaves least. A Chebyshev
polynomial damps the few eigenvalues next to the wanted ones as much as the many far below, and needs more steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spectral_graph.distributed.comm import Comm
from spectral_graph.one_thread import one_blas_thread
from spectral_graph.solve.lanczos import Spectrum
from spectral_graph.solve.polynomials import evaluate, kernel_polynomial
from spectral_graph.solve.rayleigh_ritz import Round
from spectral_graph.solve.recurrence import Factors

LOCKED = 0.2
"""Columns whose residual is below this share of tol are not filtered any more; they stay in Rayleigh-Ritz."""
SAFETY = 3.2
"""A filter is meant to bring the residuals to tol / SAFETY."""
LARGEST_RANGE = 4e3
"""Beyond this growth of the first filtered column over the last wanted one the latter drowns in rounding errors."""
PLACES = 400
"""Number of points that represent the damped eigenvalues."""
UNSEEN = 0.003
"""Share of the eigenvalues that is assumed to lie anywhere below the wanted ones, whatever the estimate says."""
GAP = 1e-2
"""Of the width of the spectrum: what is damped is taken to lie at least so far below what is wanted."""


def block_width(nodes: int, channels: int) -> int:
    """Return how many columns are iterated: the guard widens the gap to the eigenvalues that are damped."""
    return min(nodes, -(-(channels + 16 + channels // 4) // 8) * 8)


def locked_columns(last: Round, channels: int, tol: float) -> int:
    """Return how many leading columns need no filter; the rest is a multiple of eight, which products like."""
    width = len(last.ritz)
    settled = last.residuals[:channels] <= LOCKED * tol
    leading = channels if settled.all() else int(np.argmin(settled))
    return max(0, width - -(-(width - leading) // 8) * 8)


class Schedule:
    """Chooses the filters of a solution, each from the rounds before it.

    Args:
        spectrum: its estimate.
        nodes: N.
        channels: how many eigenvectors are wanted.
        width: how many columns are iterated.
        tol: the residual that they are to reach.
        degree: largest degree of a filter.
        comm: the processes; all must ask for the same filters.
    """

    def __init__(
        self, spectrum: Spectrum, nodes: int, channels: int, width: int, tol: float, degree: int, comm: Comm
    ) -> None:
        self._spectrum, self._nodes, self._channels, self._width = spectrum, nodes, channels, width
        self._tol, self._degree, self._world = tol, degree, comm
        self._filters: list[list[Factors]] = []

    def filter(self, rounds: Sequence[Round]) -> list[Factors]:
        """Return the filter that follows these rounds: at best it brings all wanted residuals to tol / SAFETY."""
        # After an interruption the filters before are chosen again, from the same numbers.
        for count in range(len(self._filters), len(rounds) + 1):
            warm = count < len(rounds) and rounds[count].degree == 0
            with one_blas_thread():
                chosen = [] if warm else self._choose(rounds[:count])
            self._filters.append([] if warm else self._shared(chosen))
        return self._filters[len(rounds)]

    def _choose(self, rounds: Sequence[Round]) -> list[Factors]:
        spectrum, channels = self._spectrum, self._channels
        if rounds:
            last = rounds[-1]
            cut, top = float(last.ritz[-1]), float(last.ritz[locked_columns(last, channels, self._tol)])
            open_ones = np.flatnonzero(last.residuals[:channels] > self._tol)
            values, residuals = last.ritz[open_ones], last.residuals[open_ones]
        else:
            cut, top = spectrum.value_at(self._width), spectrum.upper
            values, residuals = np.array([spectrum.value_at(channels)]), None
        least = GAP * max(spectrum.upper - spectrum.lower, 1e-6)
        values, top = np.maximum(values, spectrum.lower + 2 * least), max(top, spectrum.lower + 2 * least)
        damped, counts = self._damped(min(cut, float(values[-1]) - least))
        for made in self._filters:
            counts = counts * (evaluate(made, damped) / evaluate(made, values[-1:])) ** 2
        gaps = values[:, None] - damped

        def left(shares: np.ndarray) -> np.ndarray:
            return np.sqrt(counts @ (shares * gaps.T) ** 2)

        # Rayleigh-Ritz chooses the best of the columns beyond the wanted ones.
        spare = np.sqrt(self._width - channels + 1)
        scale = 1 / spare if residuals is None else residuals / left(np.ones((len(damped), 1)))

        def suffices(factors: Sequence[Factors], at_damped: np.ndarray, at_last: float) -> bool:
            after = scale * left(at_damped[:, None] / evaluate(factors, values))
            return bool(after.max() <= self._tol / SAFETY) or at_last * LARGEST_RANGE <= 1

        return kernel_polynomial(damped, counts, float(values[-1]), max(top, float(values[0])), self._degree, suffices)

    def _damped(self, cut: float) -> tuple[np.ndarray, np.ndarray]:
        """Return places of the eigenvalues below the first `width`, at most `cut`, and how many lie at each."""
        lower = min(self._spectrum.lower, cut)
        edges = np.geomspace(self._width, max(self._nodes, self._width), PLACES + 1)
        seen = np.minimum(self._spectrum.values_at(np.sqrt(edges[1:] * edges[:-1])), cut)
        # Denser at both ends, as the zeros of a Chebyshev polynomial are: it then damps the whole interval.
        angles = (np.arange(PLACES) + 0.5) * (np.pi / PLACES)
        anywhere = (lower + cut) / 2 - (cut - lower) / 2 * np.cos(angles)
        return np.append(seen, anywhere), np.append(np.diff(edges), np.full(PLACES, UNSEEN * self._nodes / PLACES))

    def _shared(self, made: list[Factors]) -> list[Factors]:
        """Return the factors of the first process: all filter by the same bits, and as often."""
        table = np.full((self._degree, 3), np.nan)
        table[: len(made)] = made
        return [(gain, shift, keep) for gain, shift, keep in self._world.broadcast(table).tolist() if gain == gain]
