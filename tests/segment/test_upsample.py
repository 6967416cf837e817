from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.errors import ConfigError
from spectral_graph.segment import upsample_labels

SIDE = st.integers(1, 24)


@given(SIDE, SIDE, SIDE, SIDE)
def test_every_pixel_takes_the_cell_of_its_centre(h, w, height, width):
    labels = np.arange(h * w, dtype=np.uint16).reshape(h, w)
    got = upsample_labels(labels, (height, width))
    assert got.shape == (height, width)
    assert got.dtype == np.uint16
    for y in range(height):
        for x in range(width):
            cell = floor(Fraction(2 * y + 1, 2 * height) * h), floor(Fraction(2 * x + 1, 2 * width) * w)
            assert got[y, x] == labels[cell]


@given(SIDE, st.integers(1, 9))
def test_whole_factors_repeat_cells(side, factor):
    labels = np.random.default_rng(side).integers(0, 99, size=(side, side))
    np.testing.assert_array_equal(
        upsample_labels(labels, (side * factor, side * factor)), labels.repeat(factor, 0).repeat(factor, 1)
    )


@pytest.mark.parametrize("size", [(320, 320), (321, 427), (33, 31), (500, 375), (7, 5)])
def test_equals_torch_nearest_exact(size):
    labels = np.random.default_rng(0).integers(0, 27, size=(32, 32))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(labels)[None, None].double(), size=size, mode="nearest-exact"
    )
    np.testing.assert_array_equal(upsample_labels(labels, size), expected[0, 0].long().numpy())


def test_huge_sides_do_not_overflow():
    assert upsample_labels(np.arange(40_000, dtype=np.int32)[None], (1, 80_000))[0, -1] == 39_999


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 4)])
def test_bad_maps(shape):
    with pytest.raises(ConfigError, match="shape"):
        upsample_labels(np.zeros(shape), (4, 4))


def test_bad_size():
    with pytest.raises(ConfigError, match="0 x 4"):
        upsample_labels(np.zeros((2, 2)), (0, 4))
