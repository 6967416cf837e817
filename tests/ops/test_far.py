"""Products that pass more than the last-level cache holds: rows of x are asked for earlier, to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_graph.ops import csr_spmm, rayleigh

CACHED = 16 << 20
"""Bytes of matrix and x from which on rows are asked for earlier (csrc/cpu/spmm/spmm_rows.h)."""


def matrix_of(rng, lengths, named):
    """Return a matrix whose entries name some of the columns `named`."""
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    indices = rng.choice(named, indptr[-1]).astype(np.int32)
    return indptr, indices, rng.standard_normal(indptr[-1]).astype(np.float32)


@pytest.mark.parametrize("channels", [9, 16, 23, 32, 33, 50, 64, 65, 104, 105, 120, 128, 130])
@pytest.mark.parametrize("lengths", [[], [1], [47, 0, 2], [95], [96], [97, 1], [200, 0, 31, 33, 150]])
def test_far_rows_give_the_bits_of_near_ones(channels, lengths):
    rng = np.random.default_rng(channels)
    columns = CACHED // (4 * channels) + 100
    named = np.append(rng.integers(0, columns, 60), [0, columns - 1])
    indptr, indices, values = matrix_of(rng, lengths, named)
    x = torch.full((columns, channels), torch.nan)
    x[named] = torch.from_numpy(rng.standard_normal((len(named), channels)).astype(np.float32))
    far = csr_spmm(*map(torch.from_numpy, (indptr, indices, values)), x)
    used = np.unique(named)
    few = np.searchsorted(used, indices).astype(np.int32)
    near = csr_spmm(*map(torch.from_numpy, (indptr, few, values)), x[used].contiguous())
    assert torch.equal(far, near)
    dense = np.zeros((len(lengths), len(used)))
    np.add.at(dense, (np.repeat(np.arange(len(lengths)), lengths), few), values)
    np.testing.assert_allclose(far.numpy(), dense @ x[used].double().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [16, 50])
def test_the_quotient_of_far_rows_is_that_of_near_ones(channels):
    rng = np.random.default_rng(channels)
    nodes, count = CACHED // (4 * channels) + 100, 300
    kept = np.sort(rng.choice(nodes, count, replace=False))
    small = np.triu(rng.random((count, count)) * (rng.random((count, count)) < 0.3), 1)
    small = (small + small.T).astype(np.float32)
    row, column = np.nonzero(small)
    starts = np.searchsorted(row, np.arange(count + 1))
    near = (starts, column.astype(np.int32), small[row, column])
    lengths = np.zeros(nodes, np.int64)
    lengths[kept] = np.diff(starts)
    far = (np.concatenate([[0], np.cumsum(lengths)]), kept[column].astype(np.int32), near[2])
    d, u = rng.random(nodes).astype(np.float32), rng.standard_normal((nodes, channels)).astype(np.float32)
    s, gradient = rayleigh(*map(torch.from_numpy, (*far, d, u)))
    expected, slope = rayleigh(*map(torch.from_numpy, (*near, d[kept], u[kept])))
    assert torch.equal(gradient[kept], slope)
    np.testing.assert_allclose(s.numpy(), expected.numpy(), rtol=1e-9)
