"""adam_rows_ against torch.optim.Adam, one optimiser a row, and against the formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph import ops
from spectral_graph.errors import GraphError
from spectral_graph.ops import adam_rows_
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(native: bool):
    return torch.ops.spectral_graph.adam_rows_.default if native else FALLBACKS["adam_rows_"]


@NATIVE
def test_rows_visited_at_different_times_equal_torch(native):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 11, generator=generator)
    mine, m, v = x.clone(), torch.zeros_like(x), torch.zeros_like(x)
    rows = [torch.nn.Parameter(row.clone()) for row in x]
    optimisers = [torch.optim.Adam([row], lr=1e-2) for row in rows]
    counts = torch.zeros(6, dtype=torch.int64)
    for visit in range(12):
        chosen = torch.randperm(6, generator=generator)[: 1 + visit % 6]
        gradient = torch.randn(len(chosen), 11, generator=generator)
        counts[chosen] += 1
        parts = [part[chosen] for part in (mine, m, v)]
        operator(native)(*parts, gradient, counts[chosen], 1e-2, 0.9, 0.999, 1e-8)
        for whole, part in zip((mine, m, v), parts, strict=True):
            whole[chosen] = part
        for i, g in zip(chosen.tolist(), gradient, strict=True):
            rows[i].grad = g
            optimisers[i].step()
    torch.testing.assert_close(mine, torch.stack([row.data for row in rows]), rtol=1e-5, atol=1e-6)


@NATIVE
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 50),
    channels=st.integers(0, 70),
    real=st.booleans(),
    beta1=st.floats(0, 0.99),
    beta2=st.floats(0, 0.9999),
)
def test_it_is_the_formula_in_float64(native, seed, n, channels, real, beta1, beta2):
    rng = np.random.default_rng(seed)
    x, m, gradient = rng.standard_normal((3, n, channels)).astype(np.float32)
    v = rng.random((n, channels)).astype(np.float32)
    step = rng.integers(1, 200, n)
    moved = [torch.from_numpy(part.copy()) for part in (x, m, v)]
    counts = torch.from_numpy(step.astype(np.float32 if real else np.int64))
    assert operator(native)(*moved, torch.from_numpy(gradient), counts, 0.01, beta1, beta2, 1e-8) is None
    x, m, v, gradient = (part.astype(np.float64) for part in (x, m, v, gradient))
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    t = step[:, None]
    x = x - 0.01 * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
    for got, expected in zip(moved, (x, m, v), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)


@NATIVE
def test_nan_stays_in_its_place_and_zero_moves_nothing(native):
    x, m, v, gradient = torch.ones(3, 9), torch.zeros(3, 9), torch.zeros(3, 9), torch.zeros(3, 9)
    gradient[1, 8] = torch.nan
    operator(native)(x, m, v, gradient, torch.ones(3), 0.1, 0.9, 0.999, 1e-8)
    for part in (x, m, v):
        assert part.isnan().nonzero().tolist() == [[1, 8]]
    assert bool((x[~x.isnan()] == 1).all())


def test_a_compiled_graph_updates_in_place():
    def way(x, m, v, gradient, step):
        adam_rows_(x, m, v, gradient * 2, step, 0.1)
        return x.sum()

    arrays = [torch.rand(4, 5) for _ in range(4)]
    step = torch.arange(1, 5)
    eager = [part.clone() for part in arrays]
    expected = way(*eager, step)
    got = torch.compile(way, fullgraph=True, backend="aot_eager")(*arrays, step)
    torch.testing.assert_close(got, expected)
    for a, b in zip(arrays, eager, strict=True):
        torch.testing.assert_close(a, b)


def test_a_non_contiguous_gradient_is_copied_and_x_is_refused():
    x, m, v = torch.zeros(3, 4), torch.zeros(3, 4), torch.zeros(3, 4)
    gradient = torch.randn(4, 3).T
    adam_rows_(x, m, v, gradient, torch.ones(3), 0.1)
    torch.testing.assert_close(x, -0.1 * gradient.sign(), rtol=1e-3, atol=1e-4)
    if ops.compiled():
        with pytest.raises(GraphError, match="x must be contiguous"):
            adam_rows_(torch.zeros(4, 3).T, m, v, gradient, torch.ones(3), 0.1)


X, STEP = torch.ones(2, 3), torch.tensor([1, 2])

MISTAKES = [
    ((X.double(), X, X, X, STEP, 0.1, 0.9, 0.9, 0.0), "x must be float32, got float64"),
    ((X, X[:1], X, X, STEP, 0.1, 0.9, 0.9, 0.0), "m must have the shape of x, (2, 3), got (1, 3)"),
    ((X, X, torch.ones(2, 2), X, STEP, 0.1, 0.9, 0.9, 0.0), "v must have the shape of x, (2, 3), got (2, 2)"),
    ((X, X, X, X[0], STEP, 0.1, 0.9, 0.9, 0.0), "gradient must have 2 dimensions, got the shape (3,)"),
    ((X, X, X, X, STEP.int(), 0.1, 0.9, 0.9, 0.0), "step must be int64 or float32, got int32"),
    ((X, X, X, X, STEP[:1], 0.1, 0.9, 0.9, 0.0), "step must have as many elements as x has rows, 2, got 1"),
    ((X, X, X, X, STEP - 1, 0.1, 0.9, 0.9, 0.0), "step must be at least 1, got step[0] = 0"),
    ((X, X, X, X, STEP - 1.5, 0.1, 0.9, 0.9, 0.0), "step must be at least 1, got step[0] = -0.5"),
    ((X, X, X, X, STEP, 0.1, 1.0, 0.9, 0.0), "beta1 must lie in [0, 1), got 1"),
    ((X, X, X, X, STEP, 0.1, 0.9, -0.5, 0.0), "beta2 must lie in [0, 1), got -0.5"),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_are_named_by_every_implementation_and_change_nothing(arguments, text):
    for function in (adam_rows_, FALLBACKS["adam_rows_"]):
        given = [
            part.clone() if isinstance(part, torch.Tensor) else part for part in arguments
        ]  # in memory of their own
        with pytest.raises(GraphError) as caught:
            function(*given)
        assert str(caught.value) == f"spectral_graph::adam_rows_: {text}"
        assert all(bool((part == 1).all()) for part in given[:3])
