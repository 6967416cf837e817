"""Filter polynomials against brute-force least squares, and the schedule that chooses them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev as series

from spectral_graph.distributed.comm import ONE_PROCESS
from spectral_graph.solve.lanczos import Spectrum
from spectral_graph.solve.polynomials import evaluate, kernel_polynomial
from spectral_graph.solve.rayleigh_ritz import Round
from spectral_graph.solve.schedule import LARGEST_RANGE, SAFETY, Schedule, block_width


def of_degree(degree: int):  # type: ignore[no-untyped-def]
    return lambda factors, damped, wanted: len(factors) == degree


def spectrum_of(values: np.ndarray) -> Spectrum:
    """Return the spectrum of known eigenvalues."""
    ordered = np.sort(values)[::-1]
    places = np.unique(np.geomspace(1, len(values), 60).astype(int)) - 1
    return Spectrum(float(ordered[-1]), float(ordered[0]), ordered[places].tolist(), (places + 0.5).tolist())


@given(st.integers(0, 10**6), st.integers(2, 12), st.floats(0.0, 0.3))
@settings(max_examples=40, deadline=None)
def test_kernel_polynomial_has_the_least_sum_of_all_polynomials(seed: int, degree: int, gap: float) -> None:
    random = np.random.default_rng(seed)
    damped = np.sort(random.uniform(-1, 0.6, 50))
    weights = random.uniform(0.1, 5, 50)
    wanted, top = 0.65 + gap, 1.0
    factors = kernel_polynomial(damped, weights, wanted, top, degree, of_degree(99))
    assert len(factors) == degree
    ours = evaluate(factors, np.append(damped, [wanted, top]))
    assert ours[-1] == pytest.approx(1.0)
    # Least squares over the coefficients of all polynomials with p(wanted) = 1.
    basis, at = series.chebvander(damped, degree), series.chebvander(np.array([wanted]), degree)[0]
    tall = basis * np.sqrt(weights * (wanted - damped))[:, None]
    triangle = np.linalg.qr(tall, mode="r")
    least = 1 / np.sum(np.linalg.solve(triangle.T, at) ** 2)
    reached = np.sum(weights * (wanted - damped) * ours[:-2] ** 2) / ours[-2] ** 2
    assert reached == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("weight", [1.0, 1e-250, 5e-324, 0.0])
@pytest.mark.parametrize("damped", [[0.0], [0.25] * 40, [-0.5, 0.25], np.linspace(-1, 0.5, 50)])
def test_a_measure_of_few_places_or_of_nothing_gives_finite_factors(damped: list[float], weight: float) -> None:
    places = np.asarray(damped)
    with np.errstate(all="raise", under="ignore"):
        factors = kernel_polynomial(places, np.full(len(places), weight), 0.6, 1.0, 60, of_degree(99))
    assert 2 <= len(factors) <= 60 and np.isfinite(factors).all()
    assert evaluate(factors, np.ones(1))[0] == pytest.approx(1.0)


def test_evaluate_follows_the_steps_on_a_matrix() -> None:
    random = np.random.default_rng(0)
    factors = [(0.7, -0.1, 0.0), (1.2, 0.3, -0.4), (0.9, 0.1, 0.2)]
    values = np.array([-0.5, 0.2, 0.9])
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    matrix = turn @ np.diag(values) @ turn.T
    before, now = np.zeros((3, 3)), np.eye(3)
    for gain, shift, keep in factors:
        before, now = now, gain * matrix @ now + shift * now + keep * before
    np.testing.assert_allclose(np.diag(turn.T @ now @ turn), evaluate(factors, values), atol=1e-12)


def spread(nodes: int = 20_000, leading: int = 40) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.sort(np.append(random.normal(0, 0.15, nodes - leading), random.uniform(0.75, 1.0, leading)))


def filtered(values: np.ndarray, factors: list[tuple[float, float, float]], channels: int, width: int) -> np.ndarray:
    """Return the residuals of the Ritz vectors of filtered random columns, of a diagonal matrix."""
    columns = np.random.default_rng(2).standard_normal((len(values), width)) * evaluate(factors, values)[:, None]
    basis = np.linalg.qr(columns)[0]
    ritz, turn = np.linalg.eigh(basis.T @ (values[:, None] * basis))
    vectors = (basis @ turn)[:, ::-1][:, :channels]
    return np.asarray(np.linalg.norm(values[:, None] * vectors - vectors * ritz[::-1][:channels], axis=0))


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3])
def test_first_filter_brings_random_columns_to_the_tolerance(tol: float) -> None:
    values = spread()
    channels, width = 12, block_width(len(values), 12)
    made = Schedule(spectrum_of(values), len(values), channels, width, tol, 60, ONE_PROCESS).filter([])
    assert filtered(values, made, channels, width).max() <= tol
    # It is meant to reach tol / SAFETY. One that is half as long is far from that: the degree is not just large.
    half = Schedule(spectrum_of(values), len(values), channels, width, tol, len(made) // 2, ONE_PROCESS).filter([])
    assert len(half) == len(made) // 2 and filtered(values, half, channels, width).max() > 2 * tol / SAFETY


def test_later_filters_are_short_where_little_is_left() -> None:
    values = spread()
    channels, width = 12, block_width(len(values), 12)
    leading = np.sort(values)[::-1][:width]

    def following(residual: float) -> int:
        schedule = Schedule(spectrum_of(values), len(values), channels, width, 1e-4, 60, ONE_PROCESS)
        first = len(schedule.filter([]))
        return len(schedule.filter([Round(1, leading, np.full(width, residual), first, width)]))

    lengths = [following(residual) for residual in (2e-4, 2e-3, 2e-2, 2e-1)]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


def test_filters_after_an_interruption_are_the_same() -> None:
    values = spread()
    channels, width = 12, block_width(len(values), 12)
    leading = np.sort(values)[::-1][:width]
    rounds = [Round(1, leading, np.full(width, 1e-2), 20, width), Round(2, leading, np.full(width, 1e-3), 8, width)]
    one = Schedule(spectrum_of(values), len(values), channels, width, 1e-4, 40, ONE_PROCESS)
    expected = [one.filter(rounds[:count]) for count in range(3)]
    for count in range(3):
        again = Schedule(spectrum_of(values), len(values), channels, width, 1e-4, 40, ONE_PROCESS)
        assert again.filter(rounds[:count]) == expected[count]


def test_growth_of_the_first_column_is_limited() -> None:
    values = np.append(spread(leading=60), 1.5)
    channels = 50
    width = block_width(len(values), channels)
    spectrum = spectrum_of(values)
    made = Schedule(spectrum, len(values), channels, width, 1e-9, 200, ONE_PROCESS).filter([])
    assert len(made) < 200
    growth = 1 / evaluate(made, np.array([spectrum.value_at(channels)]))[0]
    assert LARGEST_RANGE <= growth < 10 * LARGEST_RANGE


@pytest.mark.parametrize(("nodes", "channels"), [(1, 1), (2, 2), (20, 3), (33, 33), (40, 12)])
def test_filters_of_small_and_flat_spectra_are_finite(nodes: int, channels: int) -> None:
    width = block_width(nodes, channels)
    for values in (np.linspace(-0.2, 1, nodes), np.full(nodes, 1.0), np.r_[1.0, np.zeros(nodes - 1)]):
        spectrum = Spectrum(
            float(values.min()) - 0.1, 1.0, np.sort(values)[::-1].tolist(), np.arange(0.5, nodes).tolist()
        )
        schedule = Schedule(spectrum, nodes, channels, width, 1e-3, 40, ONE_PROCESS)
        last = Round(1, np.sort(values)[::-1][:width], np.full(width, 0.5), 5, width)
        for made in (schedule.filter([]), schedule.filter([last])):
            assert 2 <= len(made) <= 40
            assert np.isfinite(made).all()
