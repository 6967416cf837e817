import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.sparse import random as sparse_random

from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import merged_operator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.solve.optimality import Exact, measure

N, C = 60, 4


@pytest.fixture
def graph(tmp_path):
    """Two layers on one block: `measure` of a solution, and D^-1 A of each layer, dense."""
    blocks, walks = [], []
    for seed in range(2):
        upper = sparse_random(N, N, 0.2, random_state=seed, format="csr", dtype=np.float32)
        a = (upper + upper.T).tocsr()
        a.sort_indices()
        degree = np.asarray(a.sum(axis=1)).ravel()
        blocks.append(Block(np.arange(N), a.indptr.astype(np.int64), a.indices, a.data, degree, {}))
        walks.append(a.toarray().astype(np.float64) / np.where(degree > 0, degree, 1)[:, None])
    store = GraphStore.create(tmp_path / "g", {"nodes": N, "rounds": 1})
    for index, block in enumerate(blocks):
        store.write(f"blocks/{index}/000000", block)
    store.write("merged/symmetric/000000", merge_layers(blocks, "symmetric"))
    operator = merged_operator(store, "symmetric")

    def measured(x, exact=None):
        return measure(x, random_walk_form(store, ["0", "1"], operator, x), exact=exact)

    return measured, walks


def exact_of(walks, count=C):
    mean = sum(walks) / len(walks)
    values, vectors = np.linalg.eigh((mean + mean.T) / 2)
    return Exact(vectors[:, ::-1][:, :count].astype(np.float32), values[::-1][:count])


def test_value_is_eqn_3_as_written(graph):
    measured, walks = graph
    x = np.random.default_rng(0).standard_normal((N, C)).astype(np.float32)
    q, _ = np.linalg.qr(x.astype(np.float64))
    expected = np.mean([np.trace(q.T @ walk @ q) for walk in walks]) / C
    found = measured(x)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.optimum is found.overlap is found.angles is None
    mixed = (x @ np.random.default_rng(1).standard_normal((C, C)) * 1e3).astype(np.float32)
    assert measured(mixed).value == pytest.approx(expected, abs=1e-5)


def test_the_exact_solution_is_the_largest_value(graph):
    measured, walks = graph
    exact = exact_of(walks)
    found = measured(exact.vectors @ np.diag([1, 5, 100, 0.1]).astype(np.float32), exact)
    assert found.value == pytest.approx(found.optimum, abs=1e-6)
    assert found.overlap == pytest.approx(1, abs=1e-6)
    assert found.angles[-1] < 0.1
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = measured(generator.standard_normal((N, C)).astype(np.float32), exact)
        assert other.value < other.optimum


def test_angles_equal_scipy(graph):
    measured, walks = graph
    exact = exact_of(walks)
    x = np.random.default_rng(0).standard_normal((N, C)).astype(np.float32) * 0.1 + exact.vectors
    found = measured(x.astype(np.float32), exact)
    expected = np.sort(np.degrees(subspace_angles(x.astype(np.float64), exact.vectors.astype(np.float64))))
    np.testing.assert_allclose(found.angles, expected, atol=1e-3)
    assert found.overlap == pytest.approx(np.mean(np.cos(np.radians(expected)) ** 2), abs=1e-6)


def test_columns_that_repeat_count_once(graph):
    measured, walks = graph
    exact = exact_of(walks)
    x = np.random.default_rng(0).standard_normal((N, C - 1)).astype(np.float32)
    found = measured(np.c_[x, x[:, :1]], exact)
    alone = measured(x)
    assert found.value == pytest.approx(alone.value * (C - 1) / C, abs=1e-6)
    assert len(found.angles) == C and found.angles[-1] == 90
