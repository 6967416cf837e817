import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.stages.methods import diffusion_weights


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8, unique=True), st.floats(0.01, 0.99))
def test_weights_are_powers_that_end_at_the_last_weight(eigenvalues, last):
    values = np.array(sorted(eigenvalues, reverse=True))
    weights = diffusion_weights(values, last)
    assert weights[0] == pytest.approx(1)
    assert weights[-1] == pytest.approx(last)
    # One exponent t explains all of them.
    t = np.log(last) / np.log(values[-1] / values[0])
    np.testing.assert_allclose(weights, (values / values[0]) ** t, rtol=1e-9)


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.0, 0.0], [-0.1, -0.2]])
def test_flat_or_empty_spectra_weigh_all_alike(values):
    assert diffusion_weights(np.array(values), 0.5).tolist() == [1.0, 1.0]


def test_negative_eigenvalues_count_as_small():
    weights = diffusion_weights(np.array([1.0, 0.1, -0.5]), 0.5)
    assert weights[2] == pytest.approx(0.5)
    assert np.isfinite(weights).all()
