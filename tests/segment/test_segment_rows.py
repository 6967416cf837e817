import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.segment import ArrayRows, FirstColumns, NormalisedRows, RowSource, WeightedColumns
from spectral_graph.segment.rows import read_chunks

ROWS = arrays(
    np.float32,
    array_shapes(min_dims=3, max_dims=3, max_side=5),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


def read_all(source: RowSource, image_chunk: int | None = None) -> np.ndarray:
    return np.concatenate([rows for _, _, rows in read_chunks(source, image_chunk)])


@given(ROWS)
def test_normalised_rows_have_norm_one_or_zero(values):
    got = read_all(NormalisedRows(ArrayRows(values)))
    assert got.dtype == np.float32
    for row, expected in zip(got, values.reshape(-1, values.shape[2]).astype(np.float64), strict=True):
        norm = np.linalg.norm(expected)
        np.testing.assert_allclose(row, expected / norm if norm else expected, rtol=1e-6, atol=1e-45)


@given(ROWS, st.integers(1, 6), st.integers(1, 6))
def test_adapters_give_the_same_bits_for_every_chunk(values, one, other):
    weights = np.linspace(-2.0, 3.0, values.shape[2])
    source = WeightedColumns(NormalisedRows(ArrayRows(values)), weights)
    assert read_all(source, one).tobytes() == read_all(source, other).tobytes() == read_all(source).tobytes()


def test_first_and_weighted_columns():
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    rows = values.reshape(-1, 5)
    np.testing.assert_array_equal(read_all(FirstColumns(ArrayRows(values), 2)), rows[:, :2])
    weights = np.array([1.0, 0.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(read_all(WeightedColumns(ArrayRows(values), weights)), rows * weights, rtol=1e-6)


def test_a_read_may_be_changed_without_touching_the_array():
    values = np.ones((1, 2, 3), dtype=np.float32)
    ArrayRows(values).read(0, 1)[:] = 7
    assert (values == 1).all()


@pytest.mark.parametrize("k", [0, -1, 6])
def test_first_columns_out_of_range(k):
    with pytest.raises(ConfigError, match="1 to 5"):
        FirstColumns(ArrayRows(np.zeros((1, 1, 5))), k)


@pytest.mark.parametrize("weights", [np.ones(4), np.ones((5, 1)), np.array([1, 1, np.nan, 1, 1])])
def test_bad_weights(weights):
    with pytest.raises(ConfigError, match="weight"):
        WeightedColumns(ArrayRows(np.zeros((1, 1, 5))), weights)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("normalise", [False, True])
def test_bad_value_is_named_by_place(bad, normalise):
    values = np.ones((5, 4, 3), dtype=np.float32)
    values[3, 2, 1] = bad
    source = NormalisedRows(ArrayRows(values)) if normalise else ArrayRows(values)
    with pytest.raises(FeatureError, match="image 3, node 2, channel 1"):
        read_all(source, 2)


def test_values_that_overflow_are_refused():
    with pytest.raises(FeatureError, match="image 0, node 0, channel 0 is inf"):
        read_all(ArrayRows(np.full((1, 1, 1), 1e300)))
    with pytest.raises(FeatureError, match="is inf"):
        read_all(WeightedColumns(ArrayRows(np.full((1, 1, 1), 1e30)), np.array([1e30])))


def test_wrong_shapes():
    class Short:
        n_images, nodes_per_image, channels = 2, 3, 4

        def read(self, start: int, stop: int) -> np.ndarray:
            return np.zeros((5, 4), dtype=np.float32)

    with pytest.raises(FeatureError, match=r"\(5, 4\) instead of \(6, 4\)"):
        read_all(Short())
    with pytest.raises(ConfigError, match="images, nodes, channels"):
        ArrayRows(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="0 images"):
        read_chunks(ArrayRows(np.zeros((0, 3, 4))))
    with pytest.raises(ConfigError, match="image_chunk is 0"):
        read_chunks(ArrayRows(np.zeros((1, 3, 4))), 0)
