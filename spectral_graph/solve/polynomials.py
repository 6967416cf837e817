"""Polynomials of an operator, as the factors of the steps that make them, and the best ones to filter columns with.

Columns x become p(S) x by steps y <- gain S x + shift x + keep y, with x and y in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spectral_graph.solve.recurrence import Factors


def evaluate(factors: Sequence[Factors], values: np.ndarray) -> np.ndarray:
    """Return p at values (n,) float64, (n,) float64."""
    before, now = np.zeros_like(values), np.ones_like(values)
    for gain, shift, keep in factors:
        before, now = now, (gain * values + shift) * now + keep * before
    return now


def kernel_polynomial(
    damped: np.ndarray,
    weights: np.ndarray,
    wanted: float,
    top: float,
    degree: int,
    suffices: Callable[[Sequence[Factors], np.ndarray, float], bool],
) -> list[Factors]:
    """Return the polynomial p with the least sum of weights (wanted - damped) p(damped)^2 over p(wanted)^2.

    Where a column holds eigenvectors of eigenvalues `damped` with the squares `weights`, that sum is what they take
    from its Rayleigh quotient after the filter. The kernel polynomial of the measure makes it least, which is the
    orthogonal polynomial of the weights times (wanted - damped)^2 (T. S. Chihara, "An Introduction to Orthogonal
    Polynomials", 1978, section I.7), and so has a recurrence of three terms; it is scaled to 1 at `top`.

    Args:
        damped: (n,) float64, below `wanted`.
        weights: (n,) float64.
        wanted: see above.
        top: the largest eigenvalue, at least `wanted`.
        degree: largest degree, at least 2.
        suffices: called with the factors, p(damped) and p(wanted); tells whether the degree is high enough.
    """
    places = np.append(damped, [wanted, top])
    measure = np.append(weights * (wanted - damped) ** 2, [0.0, 0.0])
    before, now = np.zeros_like(places), np.ones_like(places)
    factors: list[Factors] = []
    # The recurrence of Stieltjes, with the values of the polynomials instead of their coefficients.
    size = 0.0
    while len(factors) < degree:
        size_before, size = size, (measure * now**2).sum()
        if size > 0:
            centre = (measure * places * now**2).sum() / size
            overlap = (measure * places * now * before).sum() / size_before if size_before > 0 else 0.0
        elif len(factors) > 1:
            break  # p is zero wherever the measure is not: no polynomial of a higher degree is better
        else:
            centre, overlap = damped.mean(), 0.0
        following = (places - centre) * now - overlap * before
        scale = 1 / following[-1]
        factors.append((float(scale), float(-centre * scale), float(-overlap * scale)))
        before, now = now, following * scale
        if len(factors) > 1 and suffices(factors, now[:-2], float(now[-2])):
            break
    return factors
