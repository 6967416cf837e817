"""Spectra that are hard for a subspace iteration, against dense solvers and SciPy."""

import itertools

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import eigsh

from spectral_graph.errors import SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.schedule import block_width, locked_columns


def operator_of(path, matrix, parts=1):
    """Store a symmetric matrix as `parts` blocks of rows, as scope dataset does, and return it as an operator."""
    n, matrix = matrix.shape[0], sparse.csr_matrix(matrix)
    store = GraphStore.create(path, {"nodes": n, "rounds": 1})
    for index, rows in enumerate(np.array_split(np.arange(n), parts)):
        a = sparse.csr_matrix(matrix[rows].astype(np.float32))
        a.sort_indices()
        columns = None if parts == 1 else np.arange(n)
        block = Block(rows, a.indptr.astype(np.int64), a.indices.astype(np.int32), a.data, None, {}, columns)
        store.write(f"merged/symmetric/{index:06d}", block)
    return merged_operator(store, "symmetric")


def solve(operator, work, channels, tol=1e-4, max_rounds=60, seed=0, **more):
    return chebyshev(operator, work, ChebyshevSettings(channels, tol, 40, max_rounds, seed), 1, lambda _: None, **more)


def normalised(a):
    degree = np.asarray(a.sum(axis=1)).ravel()
    root = np.divide(1, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    return sparse.diags(root) @ a @ sparse.diags(root)


def random_graph(nodes, per_row, seed=0):
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(0, nodes, (2, nodes * per_row))
    a = sparse.csr_matrix((generator.uniform(0.2, 1, len(rows)), (rows, columns)), (nodes, nodes))
    return a + a.T


def check(found, rounds, matrix, channels, tol):
    dense = matrix.toarray() if sparse.issparse(matrix) else matrix
    expected = np.linalg.eigvalsh(dense)[::-1][:channels]
    np.testing.assert_allclose(rounds[-1].ritz[:channels], expected, atol=max(1e-5, tol))
    x = found.view()[:, :channels].astype(np.float64)
    assert np.linalg.norm(dense @ x - x * rounds[-1].ritz[:channels], axis=0).max() <= 1.1 * tol + 2e-6
    np.testing.assert_allclose(x.T @ x, np.eye(channels), atol=1e-5)


@pytest.mark.parametrize("channels", [3, 40])
def test_disconnected_graphs_have_their_eigenvalue_one_many_times(tmp_path, channels):
    """More components than columns, and fewer."""
    matrix = normalised(sparse.block_diag([random_graph(12, 5, seed) for seed in range(30)]))
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", channels)
    check(found, rounds, matrix, channels, 1e-4)
    components = sparse.csgraph.connected_components(matrix)[0]
    assert 30 <= components < 40
    assert np.sum(rounds[-1].ritz[:channels] > 1 - 1e-5) == min(channels, components)


def test_clusters_of_equal_eigenvalues(tmp_path):
    """Copies of one graph: every eigenvalue 25 times, and the guard does not reach the end of a cluster."""
    one = normalised(random_graph(16, 4))
    matrix = sparse.block_diag([one] * 25)
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", 30)
    check(found, rounds, matrix, 30, 1e-4)


@pytest.mark.parametrize("channels", [1, 90, 99, 100])
def test_number_of_columns_up_to_all(tmp_path, channels):
    matrix = normalised(random_graph(100, 4))
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", channels)
    check(found, rounds, matrix, channels, 1e-4)


def test_isolated_nodes_stay_zero(tmp_path):
    a = random_graph(300, 4).tolil()
    alone = np.arange(0, 300, 7)
    a[alone], a[:, alone] = 0, 0
    matrix = normalised(a.tocsr())
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", 6)
    check(found, rounds, matrix, 6, 1e-4)
    assert np.abs(found.view()[alone, :6]).max() < 1e-3


def test_negative_spectra_and_tiny_graphs(tmp_path):
    """A bipartite graph reaches -1; two nodes are the smallest graph with an edge."""
    a = sparse.bmat([[None, random_graph(60, 3)], [random_graph(60, 3).T, None]]).tocsr()
    matrix = normalised(a)
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", 5)
    check(found, rounds, matrix, 5, 1e-4)
    pair = sparse.csr_matrix([[0.0, 1.0], [1.0, 0.0]])
    found, rounds = solve(operator_of(tmp_path / "p", pair), tmp_path / "v", 2)
    check(found, rounds, pair, 2, 1e-4)


@pytest.mark.parametrize("parts", [1, 3])
def test_equals_eigsh_on_a_graph_of_neighbours(tmp_path, parts):
    """Points in a plane and their neighbours: a spectrum that is dense at its upper end, as real graphs have it."""
    points = np.random.default_rng(0).random((1500, 2))
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    nearest = np.argsort(distance, axis=1)[:, 1:9]
    rows = np.repeat(np.arange(1500), 8)
    a = sparse.csr_matrix((np.exp(-distance[rows, nearest.ravel()]), (rows, nearest.ravel())), (1500, 1500))
    matrix = normalised(a + a.T)
    operator = operator_of(tmp_path / "g", matrix, parts)
    _, rounds = solve(operator, tmp_path / "w", 12, tol=1e-3)
    values, vectors = eigsh(matrix, 12, which="LA", tol=1e-10)
    np.testing.assert_allclose(rounds[-1].ritz[:12], values[::-1], atol=1e-4)
    tight, rounds = solve(operator, tmp_path / "v", 12, tol=1e-5)
    np.testing.assert_allclose(rounds[-1].ritz[:12], values[::-1], atol=2e-6)
    cosines = np.linalg.svd(vectors.T @ tight.view()[:, :12].astype(np.float64), compute_uv=False)
    assert np.arccos(np.clip(cosines.min(), -1, 1)) < 1e-2


def test_a_warm_start_saves_work_and_ends_at_the_same_place(tmp_path):
    matrix = normalised(random_graph(800, 3))
    operator = operator_of(tmp_path / "g", matrix)
    cold, rounds = solve(operator, tmp_path / "w", 10)
    _, again = solve(operator, tmp_path / "v", 10, start=cold.view()[:, :10])
    assert len(again) == 1 and again[0].degree == 0
    np.testing.assert_allclose(again[0].ritz[:10], rounds[-1].ritz[:10], atol=1e-6)
    noisy = cold.view() + np.random.default_rng(0).normal(0, 0.01 / np.sqrt(800), cold.view().shape)
    warm, fewer = solve(operator, tmp_path / "u", 10, start=noisy)
    check(warm, fewer, matrix, 10, 1e-4)
    assert sum(r.degree * r.filtered for r in fewer) < sum(r.degree * r.filtered for r in rounds)


def test_warm_starts_that_do_not_fit_are_refused(tmp_path):
    operator = operator_of(tmp_path / "g", normalised(random_graph(50, 3)))
    with pytest.raises(SolverError, match=r"\(40.*3\).*\(50"):
        solve(operator, tmp_path / "w", 3, start=np.zeros((40, 3), np.float32))
    with pytest.raises(SolverError, match="NaN or infinity"):
        solve(operator, tmp_path / "w", 3, start=np.full((50, 3), np.nan, np.float32))


def test_a_useless_warm_start_does_no_harm(tmp_path):
    matrix = normalised(random_graph(400, 3))
    start = np.zeros((400, 5), np.float32)
    found, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", 5, start=start)
    check(found, rounds, matrix, 5, 1e-4)


def test_converged_columns_are_not_filtered(tmp_path):
    matrix = normalised(random_graph(3000, 3))
    _, rounds = solve(operator_of(tmp_path / "g", matrix), tmp_path / "w", 20, tol=1e-5)
    width = block_width(3000, 20)
    assert rounds[0].filtered == width == 48
    for before, after in itertools.pairwise(rounds):
        assert after.filtered == width - locked_columns(before, 20, 1e-5)
    assert rounds[-1].filtered < width
