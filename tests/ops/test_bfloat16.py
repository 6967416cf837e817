"""csr_spmm with a bfloat16 dense factor: its stated error bound, its derivatives, every width."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import GraphError
from spectral_graph.ops import csr_spmm
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(native: bool):
    return torch.ops.spectral_graph.csr_spmm.default if native else FALLBACKS["csr_spmm"]


def random_csr(seed: int, n: int, m: int, per_row: int):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, per_row + 1, n) if m else np.zeros(n, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, max(m, 1), indptr[-1]).astype(np.int32)
    values = rng.standard_normal(indptr[-1]).astype(np.float32)
    dense, magnitude = np.zeros((n, m)), np.zeros((n, m))
    rows = np.repeat(np.arange(n), counts)
    np.add.at(dense, (rows, indices), values)
    np.add.at(magnitude, (rows, indices), np.abs(values))
    return tuple(torch.from_numpy(part) for part in (indptr, indices, values)), dense, magnitude, counts


def holds_the_bound(native, matrix, dense, magnitude, counts, z):
    x = z.bfloat16()
    y = operator(native)(*matrix, x)
    assert y.dtype == torch.float32 and y.shape == (len(dense), z.shape[1])
    stored, given_numbers = x.double().numpy(), z.double().numpy()
    gamma = (counts * 2.0**-24 / (1 - counts * 2.0**-24))[:, None]
    bound = gamma * (magnitude @ np.abs(stored)) + 1e-30
    assert (np.abs(y.numpy() - dense @ stored) <= bound).all()
    bound += 2.0**-8 * (magnitude @ np.abs(given_numbers))
    assert (np.abs(y.numpy() - dense @ given_numbers) <= bound).all()


@NATIVE
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 40),
    m=st.integers(0, 40),
    per_row=st.integers(0, 20),
    channels=st.integers(0, 140),
)
def test_the_stated_bound_holds(native, seed, n, m, per_row, channels):
    z = torch.randn(m, channels, generator=torch.Generator().manual_seed(seed))
    holds_the_bound(native, *random_csr(seed, n, m, per_row), z)


def test_every_channel_count():
    made = random_csr(1, 29, 7, 9)
    for channels in range(1, 200):
        z = torch.randn(7, channels, generator=torch.Generator().manual_seed(channels))
        holds_the_bound(True, *made, z)


@NATIVE
@pytest.mark.parametrize("channels", [3, 16, 50, 130])
def test_nan_and_infinity_stay_in_their_column(native, channels):
    x = torch.zeros(4, channels, dtype=torch.bfloat16)
    x[1, 0], x[2, channels - 1] = torch.nan, torch.inf
    indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([0, 1, 2], dtype=torch.int32)
    y = operator(native)(indptr, indices, torch.ones(3), x)
    assert not y[0].isnan().any()
    assert y[1].isnan().nonzero().tolist() == [[0]]
    assert y[1].isinf().nonzero().tolist() == [[channels - 1]]


def test_gradients_come_in_the_dtype_of_their_argument():
    (indptr, indices, values), dense, _, _ = random_csr(3, 12, 10, 5)
    values.requires_grad_()
    x = torch.randn(10, 6).bfloat16().requires_grad_()
    weight = torch.randn(12, 6)
    by_values, by_x = torch.autograd.grad((csr_spmm(indptr, indices, values, x) * weight).sum(), (values, x))
    assert by_values.dtype == torch.float32 and by_x.dtype == torch.bfloat16
    torch.testing.assert_close(by_x.float(), torch.from_numpy(dense.T).float() @ weight, rtol=2**-8, atol=1e-5)
    rows = torch.repeat_interleave(torch.arange(12), indptr.diff())
    torch.testing.assert_close(by_values, (weight[rows] * x.detach().float()[indices.long()]).sum(1))


def test_float64_values_are_refused_beside_it():
    (indptr, indices, values), *_ = random_csr(4, 5, 5, 3)
    for function in (csr_spmm, FALLBACKS["csr_spmm"]):
        with pytest.raises(GraphError, match="values must be float32, got float64"):
            function(indptr, indices, values.double(), torch.ones(5, 3).bfloat16())
