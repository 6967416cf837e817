import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.sparse import random as sparse_random

from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve.optimality import Exact, measure

N, C = 60, 4


@pytest.fixture
def graph(tmp_path):
    """Two layers on one block; the merged random-walk operator, and D^-1 A of each layer, dense."""
    blocks, walks = [], []
    for seed in range(2):
        upper = sparse_random(N, N, 0.2, random_state=seed, format="csr", dtype=np.float32)
        a = (upper + upper.T).tocsr()
        a.sort_indices()
        degree = np.asarray(a.sum(axis=1)).ravel()
        blocks.append(Block(np.arange(N), a.indptr.astype(np.int64), a.indices, a.data, degree, {}))
        walks.append(a.toarray().astype(np.float64) / np.where(degree > 0, degree, 1)[:, None])
    store = GraphStore.create(tmp_path / "g", {"nodes": N, "rounds": 1})
    store.write("merged/random_walk/000000", merge_layers(blocks, "random_walk"))
    return merged_operator(store, "random_walk"), walks


def exact_of(walks, count=C):
    mean = sum(walks) / len(walks)
    values, vectors = np.linalg.eigh((mean + mean.T) / 2)
    return Exact(vectors[:, ::-1][:, :count].astype(np.float32), values[::-1][:count])


def test_value_is_eqn_3_as_written(graph, tmp_path):
    operator, walks = graph
    x = np.random.default_rng(0).standard_normal((N, C)).astype(np.float32)
    q, _ = np.linalg.qr(x.astype(np.float64))
    expected = np.mean([np.trace(q.T @ walk @ q) for walk in walks]) / C
    found = measure(operator, x, tmp_path / "w")
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.optimum is found.overlap is found.angles is None
    mixed = (x @ np.random.default_rng(1).standard_normal((C, C)) * 1e3).astype(np.float32)
    assert measure(operator, mixed, tmp_path / "w").value == pytest.approx(expected, abs=1e-5)


def test_the_exact_solution_is_the_largest_value(graph, tmp_path):
    operator, walks = graph
    exact = exact_of(walks)
    found = measure(operator, exact.vectors @ np.diag([1, 5, 100, 0.1]).astype(np.float32), tmp_path / "w", exact)
    assert found.value == pytest.approx(found.optimum, abs=1e-6)
    assert found.overlap == pytest.approx(1, abs=1e-6)
    assert found.angles[-1] < 0.1
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = measure(operator, generator.standard_normal((N, C)).astype(np.float32), tmp_path / "w", exact)
        assert other.value < other.optimum


def test_angles_equal_scipy(graph, tmp_path):
    operator, walks = graph
    exact = exact_of(walks)
    x = np.random.default_rng(0).standard_normal((N, C)).astype(np.float32) * 0.1 + exact.vectors
    found = measure(operator, x.astype(np.float32), tmp_path / "w", exact)
    expected = np.sort(np.degrees(subspace_angles(x.astype(np.float64), exact.vectors.astype(np.float64))))
    np.testing.assert_allclose(found.angles, expected, atol=1e-3)
    assert found.overlap == pytest.approx(np.mean(np.cos(np.radians(expected)) ** 2), abs=1e-6)


def test_columns_that_repeat_count_once(graph, tmp_path):
    operator, walks = graph
    exact = exact_of(walks)
    x = np.random.default_rng(0).standard_normal((N, C - 1)).astype(np.float32)
    found = measure(operator, np.c_[x, x[:, :1]], tmp_path / "w", exact)
    alone = measure(operator, x, tmp_path / "w")
    assert found.value == pytest.approx(alone.value * (C - 1) / C, abs=1e-6)
    assert len(found.angles) == C and found.angles[-1] == 90
