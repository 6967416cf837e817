"""Maps between grids against torch's resampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spectral_graph.errors import GraphError
from spectral_graph.grid_map import grid_map

sides = st.integers(1, 12)
grids = st.tuples(sides, sides)


@settings(max_examples=60, deadline=None)
@given(grids, grids, st.sampled_from(["bilinear", "area"]), st.integers(0, 2**31))
def test_equals_the_resampling_of_torch(source, target, mode, seed):
    # In float64: in float32 torch's own coordinates are off by more than the weights stored here.
    x = torch.randn(1, 3, *source, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = (
        functional.interpolate(x, target, mode="bilinear", align_corners=False)
        if mode == "bilinear"
        else functional.adaptive_avg_pool2d(x, target)
    )
    rows = x[0].flatten(1).T.numpy()
    matrix = grid_map(source, target, mode)
    assert matrix.dtype == np.float32 and matrix.indices.dtype == matrix.indptr.dtype == np.int32
    assert matrix.has_sorted_indices
    np.testing.assert_allclose(matrix @ rows, expected[0].flatten(1).T.numpy(), atol=2e-6)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("mode", ["bilinear", "area"])
def test_the_same_grid_is_the_identity(mode):
    np.testing.assert_array_equal(grid_map((3, 4), (3, 4), mode).toarray(), np.eye(12))


def test_transpose_is_the_gradient():
    matrix = grid_map((8, 6), (3, 2))
    x = torch.randn(1, 1, 8, 6, requires_grad=True)
    weight = torch.randn(6)
    (functional.interpolate(x, (3, 2), mode="bilinear", align_corners=False).flatten() @ weight).backward()
    np.testing.assert_allclose(matrix.T @ weight.numpy(), x.grad.flatten(), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_means_survive_refinement_by_whole_factors(factor):
    matrix = grid_map((3, 5), (3 * factor, 5 * factor))
    np.testing.assert_allclose(matrix.sum(axis=0), factor**2, atol=1e-4)


def test_bad_grids_and_modes_are_refused():
    with pytest.raises(GraphError, match="target grid 0 x 3"):
        grid_map((2, 2), (0, 3))
    with pytest.raises(GraphError, match=r"'cubic'.*bilinear or area"):
        grid_map((2, 2), (3, 3), "cubic")
