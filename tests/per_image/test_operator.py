"""The merged operator and its eigenvectors against explicit dense sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from spectral_graph.errors import ConfigError, FeatureError, GraphError
from spectral_graph.features.model import Extraction, LayerInfo
from spectral_graph.per_image import eigen
from spectral_graph.per_image.adam import HeadGraphs, adam, loss_and_gradient
from spectral_graph.per_image.eigen import leading_eigenvectors, ritz
from spectral_graph.per_image.operator import MergedAttention, scaled_grid_map

GRIDS = {"a": (6, 4), "b": (3, 2), "c": (6, 4)}
HEADS = {"a": 2, "b": 3, "c": 1}
WIDTH = 5


def layers_of():
    return tuple(LayerInfo(name, i, HEADS[name], HEADS[name] * WIDTH, 8) for i, name in enumerate(GRIDS))


def extraction_of(seed=0, photos=2, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: {
            key: scale * torch.randn((photos, h * w, HEADS[name] * WIDTH), generator=generator) for key in ("q", "k")
        }
        for name, (h, w) in GRIDS.items()
    }
    return Extraction(tensors, torch.zeros(photos, 24, 3), (6, 4), dict(GRIDS))


def dense_graphs(extraction, row, normalisation):
    """(g, S) of each head in float64, straight from Eqn. 5; g by torch's own bilinear interpolation of unit vectors."""
    graphs = []
    for name, (h, w) in GRIDS.items():
        unit = torch.eye(24, dtype=torch.float64).view(24, 1, 6, 4)
        g = functional.interpolate(unit, size=(h, w), mode="bilinear", align_corners=False).view(24, -1).T.numpy()
        q, k = (extraction.layers[name][key][row].double().numpy() for key in ("q", "k"))
        for head in range(HEADS[name]):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            affinity = np.exp(q[:, part] @ k[:, part].T / np.sqrt(WIDTH))
            walk = affinity / affinity.sum(axis=1, keepdims=True)
            s = (walk + walk.T) / 2
            if normalisation == "symmetric":
                root = np.diag(s.sum(axis=1) ** -0.5)
                s = root @ s @ root
            graphs.append((g * np.sqrt(24 / (h * w)), s))
    return graphs


@pytest.mark.parametrize("normalisation", ["random_walk", "symmetric"])
@pytest.mark.parametrize("row", [0, 1])
def test_operator_is_the_explicit_sum_over_heads(normalisation, row):
    extraction = extraction_of()
    merged = MergedAttention((6, 4), normalisation)
    merged.add(extraction, row, layers_of())
    graphs = dense_graphs(extraction, row, normalisation)
    expected = sum(g.T @ s @ g for g, s in graphs) / len(graphs)
    matrix = merged.matrix()
    assert merged.graphs == len(graphs) == 6
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)
    values, vectors = np.linalg.eigh(expected)
    solution = leading_eigenvectors(matrix, 5)
    np.testing.assert_allclose(solution.values, values[::-1][:5], atol=1e-6)
    overlap = np.abs(np.sum(solution.vectors * vectors[:, ::-1][:, :5], axis=0))
    np.testing.assert_allclose(overlap, 1, atol=1e-4)


def test_passes_are_averaged():
    first, second = extraction_of(1), extraction_of(2)
    merged, alone = MergedAttention((6, 4), "random_walk"), []
    for extraction in (first, second):
        merged.add(extraction, 0, layers_of())
        one = MergedAttention((6, 4), "random_walk")
        one.add(extraction, 0, layers_of())
        alone.append(one.matrix())
    np.testing.assert_allclose(merged.matrix(), (alone[0] + alone[1]) / 2, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 40))
def test_no_eigenvalue_of_a_normalised_cut_exceeds_one(seed, scale):
    extraction = extraction_of(seed, 1, scale)
    merged = MergedAttention((6, 4), "symmetric")
    merged.add(extraction, 0, [layer for layer in layers_of() if layer.name != "b"])
    assert np.linalg.eigvalsh(merged.matrix())[-1] <= 1 + 1e-5


def test_attention_in_blocks_of_rows_is_the_softmax():
    nodes = 600  # more than two blocks
    generator = torch.Generator().manual_seed(0)
    tensors = {"a": {key: torch.randn((1, nodes, WIDTH), generator=generator) for key in ("q", "k")}}
    extraction = Extraction(tensors, torch.zeros(1, nodes, 3), (30, 20), {"a": (30, 20)})
    layer = LayerInfo("a", 0, 1, WIDTH, 8)
    merged = MergedAttention((30, 20), "random_walk")
    merged.add(extraction, 0, [layer])
    walk = torch.softmax(tensors["a"]["q"][0] @ tensors["a"]["k"][0].T / WIDTH**0.5, dim=1).numpy()
    np.testing.assert_allclose(merged.matrix(), (walk + walk.T) / 2, atol=1e-7)


def test_g_keeps_a_constant_column_at_its_length():
    g = scaled_grid_map((6, 4), (3, 2))
    column = np.full(24, 24**-0.5)
    assert np.linalg.norm(g @ column) == pytest.approx(1)
    assert scaled_grid_map((6, 4), (6, 4)) is None


def test_nan_and_no_layers_are_refused():
    extraction = extraction_of()
    extraction.layers["b"]["k"][1, 0, 0] = float("nan")
    merged = MergedAttention((6, 4), "random_walk")
    with pytest.raises(FeatureError, match=r"layer b: k.*`dtype=float32`"):
        merged.add(extraction, 1, layers_of())
    with pytest.raises(GraphError, match="`layers`"):
        MergedAttention((6, 4), "symmetric").matrix()


@pytest.mark.parametrize("lanczos", [True, False])
def test_both_eigensolvers_agree_with_numpy(monkeypatch, lanczos):
    monkeypatch.setattr(eigen, "LANCZOS_FROM", 0 if lanczos else 10**9)
    matrix = np.random.default_rng(0).standard_normal((90, 90))
    matrix = matrix @ matrix.T
    solution = leading_eigenvectors(matrix, 7)
    np.testing.assert_allclose(solution.values, np.linalg.eigvalsh(matrix)[::-1][:7])
    np.testing.assert_allclose(matrix @ solution.vectors, solution.vectors * solution.values, atol=1e-8)
    np.testing.assert_allclose(solution.vectors.T @ solution.vectors, np.eye(7), atol=1e-10)
    assert (solution.vectors.max(axis=0) >= -solution.vectors.min(axis=0)).all()


def test_too_many_eigenvectors_are_refused():
    with pytest.raises(ConfigError, match="`channels=5`"):
        leading_eigenvectors(np.eye(4), 5)


def test_ritz_finds_the_eigenvectors_in_a_basis_of_them():
    matrix = np.random.default_rng(1).standard_normal((30, 30))
    matrix = matrix + matrix.T
    exact = leading_eigenvectors(matrix, 4)
    mixed = exact.vectors @ np.random.default_rng(2).standard_normal((4, 4))
    found = ritz(matrix, mixed)
    np.testing.assert_allclose(found.values, exact.values)
    np.testing.assert_allclose(found.vectors, exact.vectors, atol=1e-8)


@pytest.mark.parametrize("normalisation", ["random_walk", "symmetric"])
def test_gradient_of_adam_is_that_of_autograd(normalisation):
    extraction = extraction_of(3, scale=2.0)
    graphs = HeadGraphs.of(extraction, 1, layers_of(), normalisation)
    x = torch.randn((24, 4), generator=torch.Generator().manual_seed(4))
    loss, gradient = loss_and_gradient(graphs, x)
    free = x.double().requires_grad_()
    u = free / free.norm(dim=0)
    terms = []
    for g, s in dense_graphs(extraction, 1, normalisation):
        seen = torch.from_numpy(g) @ u
        terms.append(((seen * (torch.from_numpy(s) @ seen)).sum(dim=0) - 1).abs())
    expected = torch.stack(terms).mean() + (free.T @ free / 24 - torch.eye(4)).norm()
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient.double(), free.grad, rtol=1e-4, atol=1e-6)


def test_adam_approaches_the_exact_value_and_is_deterministic():
    extraction = extraction_of(5, scale=0.5)
    merged = MergedAttention((6, 4), "symmetric")
    merged.add(extraction, 0, layers_of())
    matrix = merged.matrix()
    graphs = HeadGraphs.of(extraction, 0, layers_of(), "symmetric")
    settings = {"learning_rate": 5e-3, "seed": 0}
    short = [adam(lambda _: graphs, 24, 2, steps=50, **settings) for _ in range(2)]
    np.testing.assert_array_equal(*short)
    x = adam(lambda _: graphs, 24, 2, steps=2000, **settings)
    exact = leading_eigenvectors(matrix, 2)
    assert ritz(matrix, x).values.mean() == pytest.approx(exact.values.mean(), rel=0.05)


def test_adam_takes_new_graphs_as_often_as_reuse_says():
    graphs = HeadGraphs.of(extraction_of(), 0, layers_of(), "symmetric")
    taken = []
    adam(lambda draw: taken.append(draw) or graphs, 24, 2, steps=200, learning_rate=1e-3, seed=0, reuse=0.9)
    assert taken == list(range(len(taken)))
    assert 8 <= len(taken) <= 40
