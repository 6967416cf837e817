import numpy as np
import pytest

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.node_rows import ArrayRows, ImageRows, NormalisedRows, WeightedColumns
from spectral_graph.segment.rows import read_chunks


def read_all(source, image_chunk=None):
    return np.concatenate([rows for _, _, rows in read_chunks(source, image_chunk)])


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
    class Short(ImageRows):
        def read(self, which):
            return np.zeros((5, 4), dtype=np.float32)

    with pytest.raises(FeatureError, match=r"\(5, 4\) instead of \(6, 4\)"):
        read_all(Short((6, 4), 3))
    with pytest.raises(ConfigError, match="0 images"):
        read_chunks(ArrayRows(np.zeros((0, 3, 4))))
    with pytest.raises(ConfigError, match="image_chunk is 0"):
        read_chunks(ArrayRows(np.zeros((1, 3, 4))), 0)
