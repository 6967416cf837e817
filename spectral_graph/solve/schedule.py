"""Which filter comes next, and which columns still need one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spectral_graph.solve.lanczos import Spectrum
from spectral_graph.solve.rayleigh_ritz import Round

LOCKED = 0.2
"""Columns whose residual is below this share of tol are not filtered any more; they stay in Rayleigh-Ritz."""
SAFETY = 5.0
"""A filter is meant to bring the residuals to tol / SAFETY."""
FIRST_GROWTH = 1000.0
"""By how much the first filter is meant to lift the last wanted eigenvector over the damped ones."""
LARGEST_GROWTH = 1e6
"""Beyond this growth float32 columns lose what they hold besides the leading eigenvector."""
BULK = 32
"""Later filters damp what lies below the BULK-fold of the block's width in number: by then the many small errors there
outweigh those next to the wanted eigenvalues, and a wider gap needs a lower degree."""


@dataclass(frozen=True)
class Filter:
    """The Chebyshev polynomial of a round: it damps [lower, cut] and is about 1 at `top`."""

    lower: float
    cut: float
    top: float
    degree: int

    @classmethod
    def between(cls, lower: float, cut: float, top: float) -> Filter:
        """Return a filter of degree 1 with `cut` moved off the ends of the spectrum."""
        span = max(top - lower, 1e-6)
        return cls(lower, min(max(cut, lower + 1e-3 * span), top - 1e-2 * span), top, 1)

    def rate(self, value: float) -> float:
        """Return the logarithm of the growth of an eigenvector a degree; next to 0 for one that is damped."""
        centre, half = (self.lower + self.cut) / 2, (self.cut - self.lower) / 2
        return max(math.acosh(max(1.0, (value - centre) / half)), 1e-3)


def block_width(nodes: int, channels: int) -> int:
    """Return how many columns are iterated: the guard widens the gap to the eigenvalues that are damped."""
    return min(nodes, -(-(channels + 16 + channels // 4) // 8) * 8)


def first_filter(spectrum: Spectrum, channels: int, width: int, degree: int) -> Filter:
    """Return the filter of random columns."""
    cut = spectrum.value_at(width)
    made = Filter.between(spectrum.lower, cut, spectrum.upper)
    wanted = math.acosh(FIRST_GROWTH) / made.rate(spectrum.value_at(channels))
    most = math.acosh(LARGEST_GROWTH) / made.rate(made.top)
    return Filter(made.lower, made.cut, made.top, max(2, min(degree, math.ceil(wanted), math.floor(most))))


def next_filter(spectrum: Spectrum, last: Round, locked: int, channels: int, tol: float, degree: int) -> Filter:
    """Return the filter that should bring all wanted residuals to tol / SAFETY."""
    ritz, residuals = last.ritz, last.residuals
    lower, top = min(spectrum.lower, float(ritz[-1])), float(ritz[0])
    bulk = min(spectrum.value_at(BULK * len(ritz)), float(ritz[channels - 1]) - 0.05 * (top - lower))
    made = Filter.between(lower, max(float(ritz[-1]), bulk), top)
    wanted = max(
        math.acosh(max(1.0, SAFETY * residuals[i] / tol)) / made.rate(ritz[i])
        for i in range(channels)
        if residuals[i] > tol
    )
    most = math.acosh(LARGEST_GROWTH) / made.rate(ritz[locked])
    return Filter(made.lower, made.cut, made.top, max(2, min(degree, math.ceil(wanted), math.floor(most))))


def locked_columns(last: Round, channels: int, tol: float) -> int:
    """Return how many leading columns need no filter; the rest is a multiple of eight, which products like."""
    width = len(last.ritz)
    settled = last.residuals[:channels] <= LOCKED * tol
    leading = channels if settled.all() else int(np.argmin(settled))
    return max(0, width - -(-(width - leading) // 8) * 8)
