"""Sparse products and the transpose against dense float64 NumPy, and their derivatives against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.ops import csr_sddmm, csr_spmm, csr_spmm_transposed
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(name: str, native: bool):
    return getattr(torch.ops.spectral_graph, name).default if native else FALLBACKS[name]


def random_csr(seed: int, n: int, m: int, per_row: int, dtype=torch.float32):
    """A matrix with unsorted columns, duplicates and empty rows, and the same one dense in float64."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, per_row + 1, n) * (rng.random(n) > 0.2)
    if m == 0:
        counts[:] = 0
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, max(m, 1), indptr[-1]).astype(np.int32)
    values = torch.from_numpy(rng.standard_normal(indptr[-1])).to(dtype)
    dense = np.zeros((n, m))
    np.add.at(dense, (np.repeat(np.arange(n), counts), indices), values.double().numpy())
    return torch.from_numpy(indptr), torch.from_numpy(indices), values, dense


@NATIVE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_channel_count_is_the_dense_product(native, dtype):
    indptr, indices, values, dense = random_csr(1, 37, 23, 9, dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    for channels in range(1, 141) if native else (1, 7, 50, 140):
        x = torch.randn(23, channels, dtype=dtype, generator=torch.Generator().manual_seed(channels))
        for check in (True, False):
            y = operator("csr_spmm", native)(indptr, indices, values, x, check)
            assert y.dtype == dtype and y.shape == (37, channels)
            np.testing.assert_allclose(y.numpy(), dense @ x.double().numpy(), rtol=tolerance, atol=tolerance)


@NATIVE
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 40),
    m=st.integers(0, 40),
    per_row=st.integers(0, 12),
    channels=st.integers(0, 70),
    double=st.booleans(),
)
def test_all_products_match_numpy(native, seed, n, m, per_row, channels, double):
    dtype = torch.float64 if double else torch.float32
    tolerance = 1e-12 if double else 2e-4
    indptr, indices, values, dense = random_csr(seed, n, m, per_row, dtype)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, channels, dtype=dtype, generator=generator)
    z = torch.randn(n, channels, dtype=dtype, generator=generator)
    y = operator("csr_spmm", native)(indptr, indices, values, x)
    np.testing.assert_allclose(y.numpy(), dense @ x.double().numpy(), rtol=tolerance, atol=tolerance)
    back = csr_spmm_transposed(indptr, indices, values, z, m)
    np.testing.assert_allclose(back.numpy(), dense.T @ z.double().numpy(), rtol=tolerance, atol=tolerance)
    rows = np.repeat(np.arange(n), np.diff(indptr.numpy()))
    dots = operator("csr_sddmm", native)(indptr, indices, z, x)
    expected = (z.double().numpy()[rows] * x.double().numpy()[indices.numpy()]).sum(1)
    np.testing.assert_allclose(dots.numpy(), expected, rtol=tolerance, atol=tolerance)
    t_indptr, t_indices, t_values = operator("csr_transpose", native)(indptr, indices, values, m)
    order = np.lexsort((np.arange(len(rows)), indices.numpy()))
    assert t_indptr.tolist() == [0, *np.cumsum(np.bincount(indices.numpy(), minlength=m)).tolist()]
    assert t_indices.tolist() == rows[order].tolist()
    assert t_values.tolist() == values[torch.from_numpy(order)].tolist()


@NATIVE
def test_a_wide_matrix_with_few_entries_is_transposed(native):
    indptr = torch.tensor([0, 1, 1, 3])
    indices = torch.tensor([99_999, 5, 0], dtype=torch.int32)
    t = operator("csr_transpose", native)(indptr, indices, torch.tensor([1.0, 2.0, 3.0]), 100_000)
    assert t[1].tolist() == [2, 2, 0] and t[2].tolist() == [3.0, 2.0, 1.0]
    assert t[0][[0, 1, 5, 6, 99_999, 100_000]].tolist() == [0, 1, 1, 2, 2, 3]


def test_one_hub_row_among_many_short_ones():
    n = 5000
    counts = np.ones(n, np.int64)
    counts[17] = 4 * n
    indptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    indices = torch.arange(int(indptr[-1]), dtype=torch.int32) % n
    values = torch.full((len(indices),), 0.5)
    y = csr_spmm(indptr, indices, values, torch.ones(n, 3))
    assert y[17].tolist() == [2.0 * n] * 3
    assert bool((torch.cat([y[:17], y[18:]]) == 0.5).all())


def test_non_contiguous_arguments_are_copied():
    indptr, indices, values, dense = random_csr(3, 20, 20, 5)
    x = torch.randn(7, 20).T
    expected = dense @ x.double().numpy()
    np.testing.assert_allclose(csr_spmm(indptr, indices, values, x).numpy(), expected, atol=1e-4)
    doubled = torch.stack([values, values], dim=1)[:, 0]
    np.testing.assert_allclose(csr_spmm(indptr, indices, doubled, x).numpy(), expected, atol=1e-4)


@NATIVE
@pytest.mark.parametrize("channels", [3, 16, 130])
def test_nan_and_infinity_stay_in_their_column(native, channels):
    x = torch.zeros(4, channels)
    x[1, 0], x[2, channels - 1] = torch.nan, torch.inf
    indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([0, 1, 2], dtype=torch.int32)
    y = operator("csr_spmm", native)(indptr, indices, torch.ones(3), x)
    assert not y[0].isnan().any()
    assert y[1].isnan().nonzero().tolist() == [[0]]
    assert y[1].isinf().nonzero().tolist() == [[channels - 1]]


def test_gradients_of_all_orders():
    indptr, indices, values, _ = random_csr(5, 6, 5, 4, torch.float64)
    values.requires_grad_()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    products = [
        (lambda v, x: csr_spmm(indptr, indices, v, x), (values, x)),
        (lambda v, z: csr_spmm_transposed(indptr, indices, v, z, 5), (values, z)),
        (lambda z, x: csr_sddmm(indptr, indices, z, x), (z, x)),
    ]
    for function, arguments in products:
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)


def test_only_the_wanted_gradient_is_made():
    indptr, indices, values, dense = random_csr(6, 8, 8, 4)
    x = torch.randn(8, 2, requires_grad=True)
    csr_spmm(indptr, indices, values, x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), dense.T @ np.ones((8, 2)), atol=1e-5)
    assert values.grad is None
