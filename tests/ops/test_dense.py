"""gram and rotate against float64 NumPy, and their derivatives against autograd through plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.ops import gram, rotate
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(name: str, native: bool):
    return getattr(torch.ops.spectral_graph, name).default if native else FALLBACKS[name]


@NATIVE
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    n=st.one_of(st.integers(0, 300), st.integers(1000, 2200)),
    channels=st.integers(0, 40),
    width=st.integers(0, 40),
)
def test_gram_and_rotate_match_numpy(native, seed, n, channels, width):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, channels)).astype(np.float32)
    y = rng.standard_normal((n, width)).astype(np.float32)
    u = rng.standard_normal((channels, width))
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    g = operator("gram", native)(torch.from_numpy(x))
    assert g.dtype == torch.float64 and torch.equal(g, g.T)
    np.testing.assert_allclose(g.numpy(), x64.T @ x64, rtol=1e-12, atol=1e-10)
    cross = operator("gram", native)(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(cross.numpy(), x64.T @ y64, rtol=1e-12, atol=1e-10)
    turned = operator("rotate", native)(torch.from_numpy(x), torch.from_numpy(u))
    assert turned.dtype == torch.float32
    np.testing.assert_allclose(turned.numpy(), (x64 @ u).astype(np.float32), rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 4, 8, 50, 100, 128, 140])
def test_wide_and_tall(channels):
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((5003, channels)).astype(np.float32)
    x64 = x.astype(np.float64)
    g = gram(torch.from_numpy(x))
    np.testing.assert_allclose(g.numpy(), x64.T @ x64, rtol=1e-12, atol=1e-9)
    _, u = np.linalg.eigh(x64.T @ x64)
    turned = rotate(torch.from_numpy(x), torch.from_numpy(u)).numpy()
    np.testing.assert_allclose(turned, (x64 @ u).astype(np.float32), rtol=2e-7, atol=1e-10)


@NATIVE
def test_sums_are_float64(native):
    x = torch.full((40_000, 1), 0.1)
    exact = 40_000 * np.float64(np.float32(0.1)) ** 2
    assert operator("gram", native)(x).item() == pytest.approx(exact, rel=1e-13)
    big = torch.tensor([[1e8, 1.0, -1e8]])
    assert operator("rotate", native)(big, torch.ones(3, 1, dtype=torch.float64)).item() == 1.0


@NATIVE
def test_nan_stays_in_its_row_and_column(native):
    x = torch.ones(10, 9)
    x[4, 8] = torch.nan
    g = operator("gram", native)(x)
    assert g[:8, :8].isfinite().all() and g[8].isnan().all() and g[:, 8].isnan().all()
    turned = operator("rotate", native)(x, torch.eye(9, dtype=torch.float64))
    assert turned.isnan().any(1).nonzero().tolist() == [[4]]


def test_non_contiguous_arguments_are_copied():
    x = torch.randn(5, 300).T
    u = torch.randn(4, 5, dtype=torch.float64).T
    torch.testing.assert_close(gram(x), x.double().T @ x.double())
    torch.testing.assert_close(rotate(x, u), (x.double() @ u).float())


def test_gradients_agree_with_plain_torch():
    x = torch.randn(30, 5, requires_grad=True)
    y = torch.randn(30, 4, requires_grad=True)
    u = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight, cross = torch.randn(5, 5, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    out = torch.randn(30, 4)

    def ours():
        return (gram(x) * weight).sum() + (gram(x, y) * cross).sum() + (rotate(x, u) * out).sum().double()

    def plain():
        xd, yd = x.double(), y.double()
        return (xd.T @ xd * weight).sum() + (xd.T @ yd * cross).sum() + (xd @ u * out).sum()

    for mine, theirs in zip(
        torch.autograd.grad(ours(), (x, y, u)), torch.autograd.grad(plain(), (x, y, u)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
