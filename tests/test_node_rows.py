"""Rows of nodes and the views of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.features.store import FeatureStore
from spectral_graph.node_rows import ArrayRows, FirstColumns, ImageRows, NormalisedRows, WeightedColumns
from spectral_graph.segment.rows import read_chunks

ROWS = arrays(
    np.float32,
    array_shapes(min_dims=3, max_dims=3, max_side=5),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


def read_all(source: ImageRows, image_chunk: int | None = None) -> np.ndarray:
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


@pytest.mark.parametrize("k", [0, -1, 6])
def test_first_columns_out_of_range(k):
    with pytest.raises(ConfigError, match="1 to 5"):
        FirstColumns(ArrayRows(np.zeros((1, 1, 5))), k)


@pytest.mark.parametrize("weights", [np.ones(4), np.ones((5, 1)), np.array([1, 1, np.nan, 1, 1])])
def test_bad_weights(weights):
    with pytest.raises(ConfigError, match="weight"):
        WeightedColumns(ArrayRows(np.zeros((1, 1, 5))), weights)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5)])
def test_other_numbers_of_dimensions_are_refused(shape):
    with pytest.raises(FeatureError, match="shape"):
        ArrayRows(np.zeros(shape, np.float32))


def test_integers_are_refused_unless_a_dtype_is_given():
    with pytest.raises(FeatureError, match="int64"):
        ArrayRows(np.zeros((2, 3), np.int64))
    assert ArrayRows(np.ones((2, 3), np.int64), np.float32).read(slice(1, 2)).tolist() == [[1.0] * 3]


def test_an_array_that_is_read_only_gives_rows_for_torch():
    values = np.ones((4, 3), np.float32)
    values.flags.writeable = False
    assert ArrayRows(values).read(slice(0, 2)).flags.writeable


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("slots", [[0, 1, 2, 3, 4], [4, 1, 3]])
def test_rows_of_the_store_are_those_of_a_whole_read(tmp_path, coarse, slots):
    grids = {"b": (2, 3)} if coarse else None
    store = FeatureStore.create(tmp_path / "f.zarr", 5, (4, 6), {"b": 8}, ["v"], 4, grids)
    generator = np.random.default_rng(0)
    for slot in range(5):
        own = generator.standard_normal((6 if coarse else 24, 8))
        store.write(slot, {"b": {"v": own}}, generator.standard_normal((24, 4)))
    for rows, whole in (
        (store.rows("b", "v", slots), store.read("b", "v", slots)),
        (store.rows("b", "v", slots, own_grid=True), store.read("b", "v", slots, own_grid=True)),
        (store.final_rows(slots), store.read_final(slots)),
    ):
        whole = whole.reshape(-1, rows.channels)
        assert (rows.shape, rows.n_images) == (whole.shape, len(slots))
        nodes = rows.nodes_per_image
        some = np.array([0, 1, nodes - 1, nodes + 2, 3 * nodes - 1])
        for which in (slice(0, 0), slice(2, nodes + 3), slice(nodes, 2 * nodes), slice(None), some, some[:0]):
            part = rows.read(which)
            assert part.dtype == rows.dtype
            np.testing.assert_array_equal(part.astype(np.float32), whole[which])
