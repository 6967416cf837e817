"""rayleigh against the dense float64 formula, autograd through it, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import GraphError
from spectral_graph.ops import rayleigh
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(native: bool):
    return torch.ops.spectral_graph.rayleigh.default if native else FALLBACKS["rayleigh"]


def symmetric(seed: int, n: int, per_row: int):
    """A symmetric matrix with unsorted columns, duplicates, loops and isolated nodes; and the same one dense."""
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, max(n, 1), (2, n * per_row // 2))
    values = rng.random(edges.shape[1]).astype(np.float32)
    rows, columns, values = np.r_[edges[0], edges[1]], np.r_[edges[1], edges[0]], np.r_[values, values]
    order = rng.permutation(len(rows))
    order = order[np.argsort(rows[order], kind="stable")]
    indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=n))] if n else np.zeros(1, np.int64)
    dense = np.zeros((n, n))
    np.add.at(dense, (rows, columns), values)
    degree = dense.sum(1)
    inverse = np.divide(1, degree, out=np.zeros(n), where=degree > 0).astype(np.float32)
    matrix = (indptr.astype(np.int64), columns[order].astype(np.int32), values[order], inverse)
    return tuple(torch.from_numpy(part) for part in matrix), dense


def formula(dense, inverse, u):
    """s and its gradient in float64, written as in the paper."""
    walk = np.asarray(inverse, np.float64)[:, None] * dense
    s = np.einsum("nc,nc->c", u, walk @ u)
    return s, (walk + walk.T) @ u


@NATIVE
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 60), per_row=st.integers(0, 12), channels=st.integers(0, 140))
def test_it_is_the_dense_formula(native, seed, n, per_row, channels):
    matrix, dense = symmetric(seed, n, per_row)
    u = torch.randn(n, channels, generator=torch.Generator().manual_seed(seed))
    s, gradient = operator(native)(*matrix, u)
    assert (s.dtype, gradient.dtype) == (torch.float64, torch.float32)
    expected_s, expected = formula(dense, matrix[3], u.double().numpy())
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(s.numpy(), expected_s, rtol=1e-5, atol=2e-5)


@NATIVE
def test_many_rows_are_summed_in_float64(native):
    """A ring: every row gives the same share of s, so a float32 sum over the rows would drift."""
    n = 400_000
    indptr = torch.arange(0, 2 * n + 1, 2)
    around = torch.stack([torch.arange(-1, n - 1) % n, torch.arange(1, n + 1) % n], 1).flatten().int()
    u = torch.full((n, 1), 0.1)
    s, _ = operator(native)(indptr, around, torch.ones(2 * n), torch.full((n,), 0.5), u)
    assert s.item() == pytest.approx(n * float(np.float32(0.1)) ** 2, rel=1e-7)


@NATIVE
def test_nan_stays_in_its_column_and_among_its_neighbours(native):
    matrix, dense = symmetric(4, 40, 3)
    u = torch.ones(40, 20)
    u[7, 19] = torch.nan
    s, gradient = operator(native)(*matrix, u)
    assert s.isnan().nonzero().tolist() == [[19]]
    assert not gradient[:, :19].isnan().any()
    assert gradient[:, 19].isnan().nonzero().flatten().tolist() == np.nonzero(dense[:, 7])[0].tolist()


def test_non_contiguous_arguments_are_copied():
    matrix, dense = symmetric(5, 30, 6)
    u = torch.randn(9, 30).T
    s, gradient = rayleigh(*matrix, u)
    expected_s, expected = formula(dense, matrix[3], u.double().numpy())
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(s.numpy(), expected_s, rtol=1e-5, atol=1e-5)


def test_derivatives_equal_those_of_the_dense_formula():
    matrix, dense = symmetric(6, 25, 6)
    walk = matrix[3].double()[:, None] * torch.from_numpy(dense)
    u = torch.randn(25, 4, requires_grad=True)
    weight, out = torch.randn(4, dtype=torch.float64), torch.randn(25, 4)

    def ours(u):
        s, gradient = rayleigh(*matrix, u)
        return (weight * s).sum() + (out * gradient).sum(), s.square().sum()

    def plain(u):
        s = (u * (walk @ u)).sum(0)
        return (weight * s).sum() + (out * ((walk + walk.T) @ u)).sum(), s.square().sum()

    for mine, theirs in zip(ours(u), plain(u.double()), strict=True):
        (a,) = torch.autograd.grad(mine, u, create_graph=True)
        (b,) = torch.autograd.grad(theirs, u, create_graph=True)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            torch.autograd.grad(a.square().sum(), u, retain_graph=True)[0],
            torch.autograd.grad(b.square().sum(), u, retain_graph=True)[0],
            rtol=1e-3,
            atol=1e-3,
        )


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient and is not a double:UserWarning")
def test_gradcheck():
    """s is quadratic and the gradient linear in u, so central differences are exact for any step: a large one."""
    matrix, _ = symmetric(7, 6, 4)
    u = torch.randn(6, 3, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: rayleigh(*matrix, u), (u,), eps=0.25, atol=1e-4, rtol=1e-3)


def test_the_returned_gradient_is_that_of_the_value():
    matrix, _ = symmetric(8, 50, 8)
    u = torch.randn(50, 17, requires_grad=True)
    s, gradient = rayleigh(*matrix, u)
    torch.testing.assert_close(torch.autograd.grad(s.sum(), u)[0], gradient.detach())


ONE = torch.tensor([0, 1, 2]), torch.tensor([1, 0], dtype=torch.int32), torch.ones(2), torch.ones(2), torch.ones(2, 3)

MISTAKES = [
    (4, ONE[4].double(), "u must be float32, got float64"),
    (4, ONE[4][0], "u must have 2 dimensions, got the shape (3,)"),
    (4, ONE[4][:1], "u must have as many rows as the matrix, 2, got 1"),
    (3, ONE[3].double(), "inverse_degree must be float32, got float64"),
    (3, ONE[3][:1], "inverse_degree must have as many elements as u has rows, 2, got 1"),
    (3, ONE[3][:, None], "inverse_degree must have 1 dimension, got the shape (2, 1)"),
    (2, ONE[2][:1], "values must have as many elements as indices, 2, got 1"),
    (1, ONE[1] + 1, "indices must lie in [0, 2), got indices[0] = 2"),
    (0, ONE[0].flip(0), "indptr must begin with 0, got 2"),
]


@pytest.mark.parametrize(("place", "wrong", "text"), MISTAKES)
def test_mistakes_are_named_by_every_implementation(place, wrong, text):
    arguments = (*ONE[:place], wrong, *ONE[place + 1 :])
    for function in (rayleigh, FALLBACKS["rayleigh"]):
        with pytest.raises(GraphError) as caught:
            function(*arguments)
        assert str(caught.value) == f"spectral_graph::rayleigh: {text}"
