import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.evaluate import coordinate_regression
from spectral_graph.evaluate.coordinates import node_positions
from spectral_graph.node_rows import ArrayRows


def lstsq_errors(values, grid):
    """The three errors by numpy.linalg.lstsq on everything at once."""
    positions = np.array(
        [
            [(i + 0.5) * 32 / grid[0] - 0.5, (j + 0.5) * 32 / grid[1] - 0.5]
            for i in range(grid[0])
            for j in range(grid[1])
        ]
    )

    def design(part):
        # One scale for all columns, or the cut-off of lstsq itself drops the small ones.
        rows = part.reshape(-1, values.shape[2]).astype(np.float64) / np.abs(values).max(axis=(0, 1))
        return np.hstack([rows, np.ones((len(rows), 1))]), np.tile(positions, (len(part), 1))

    def error(fit, scored):
        x, y = design(fit)
        head = np.linalg.lstsq(x, y, rcond=None)[0]
        x, y = design(scored)
        return np.mean((x @ head - y) ** 2)

    held_out = error(values[::2], values[1::2]) if len(values) > 1 else None
    return error(values, values), held_out, np.mean((positions - positions.mean(axis=0)) ** 2)


def check(values, grid, rel=1e-6):
    got = coordinate_regression(ArrayRows(values), grid)
    mse, held_out, chance = lstsq_errors(values, grid)
    assert got.mse == pytest.approx(mse, rel=rel, abs=1e-6)
    if held_out is None:
        assert got.mse_held_out is None
    else:
        assert got.mse_held_out == pytest.approx(held_out, rel=rel, abs=1e-6)
    assert got.chance == pytest.approx(chance)
    assert got.images == len(values)
    return got


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(3, 8), st.integers(3, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_equals_lstsq(images, h, w, channels, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(images, h * w, channels)) + 0.3 * np.tile(np.arange(h * w), (images, 1))[..., None]
    check(values.astype(np.float32), (h, w))


def test_scales_and_offsets_of_columns_do_not_matter():
    # Singular values of a spectral basis span decades; a plain ridge would lose the small columns.
    rng = np.random.default_rng(0)
    positions = node_positions((8, 8))
    signal = np.tile(positions @ rng.normal(size=(2, 4)), (6, 1, 1)) + rng.normal(size=(6, 64, 4))
    plain = check(signal.astype(np.float32), (8, 8))
    scaled = check((signal * [1e-12, 1e-3, 1.0, 1e8]).astype(np.float32), (8, 8))
    assert scaled.mse == pytest.approx(plain.mse, rel=1e-5)
    # An offset of 1000 costs float32 three digits of the signal itself, no more.
    shifted = check((signal + 1000).astype(np.float32), (8, 8), rel=1e-5)
    assert shifted.mse == pytest.approx(plain.mse, rel=1e-3)


def test_collinear_and_constant_columns():
    rng = np.random.default_rng(1)
    # Rows that sum to one, as after a softmax (exactly: the values are multiples of 2**-12), and a constant.
    values = (rng.integers(2**10, size=(4, 36, 5)) / 2**12).astype(np.float32)
    values[..., 3] = 1 - values[..., :3].sum(axis=2)
    values[..., 4] = 0.1
    check(values, (6, 6), rel=1e-5)


def test_columns_of_one_value_predict_by_chance():
    got = coordinate_regression(ArrayRows(np.full((3, 16, 2), 0.1)), (4, 4))
    assert got.mse == pytest.approx(got.chance)
    assert got.mse_held_out == pytest.approx(got.chance)


def test_position_itself_is_predicted_without_error():
    values = np.tile(node_positions((32, 32)) @ [[1.0, 2.0], [-1.0, 0.5]] + 7, (3, 1, 1))
    got = coordinate_regression(ArrayRows(values), (32, 32))
    assert got.mse < 1e-6
    assert got.mse_held_out < 1e-6


@pytest.mark.parametrize(("grid", "chance"), [((32, 32), (32**2 - 1) / 12), ((1, 1), 0.0)])
def test_chance(grid, chance):
    rng = np.random.default_rng(0)
    got = coordinate_regression(ArrayRows(rng.normal(size=(2, grid[0] * grid[1], 1))), grid)
    assert got.chance == pytest.approx(chance)


def test_positions_share_one_unit_over_grids():
    np.testing.assert_allclose(node_positions((32, 32))[:, 0].reshape(32, 32)[:, 0], np.arange(32))
    coarse, fine = node_positions((8, 4)).reshape(8, 4, 2), node_positions((16, 8)).reshape(8, 2, 4, 2, 2)
    np.testing.assert_allclose(coarse, fine.mean(axis=(1, 3)))


def test_one_image_has_no_held_out_error():
    assert coordinate_regression(ArrayRows(np.random.default_rng(0).random((1, 9, 2))), (3, 3)).mse_held_out is None


def test_more_channels_than_rows_is_legal():
    values = np.random.default_rng(0).normal(size=(2, 4, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = coordinate_regression(ArrayRows(values), (2, 2))
    assert got.mse < 1e-6
    assert np.isfinite(got.mse_held_out)


@pytest.mark.parametrize("image_chunk", [1, 2, 5, 9])
def test_same_bits_for_every_chunk(image_chunk):
    source = ArrayRows(np.random.default_rng(2).normal(size=(9, 20, 6)))
    assert coordinate_regression(source, (4, 5), image_chunk) == coordinate_regression(source, (4, 5))


def test_bad_input():
    values = np.ones((2, 6, 3))
    with pytest.raises(ConfigError, match=r"2 x 4.*6 nodes"):
        coordinate_regression(ArrayRows(values), (2, 4))
    with pytest.raises(ConfigError, match="-2 x -3"):
        coordinate_regression(ArrayRows(values), (-2, -3))
    values[1, 5, 0] = np.nan
    with pytest.raises(FeatureError, match=r"1.*5.*0"):
        coordinate_regression(ArrayRows(values), (2, 3))
