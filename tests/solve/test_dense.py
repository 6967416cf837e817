"""Operators that are small against the number of eigenvectors, against numpy's dense solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.sparse import csr_matrix

from spectral_graph.errors import SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.dense import is_small
from spectral_graph.solve.schedule import block_width

TOL = 1e-5


def operator_of(path, dense, parts=1):
    """Store a symmetric matrix as blocks of rows and return it as an operator."""
    n = len(dense)
    store = GraphStore.create(path, {"nodes": n, "rounds": 1})
    for index, rows in enumerate(np.array_split(np.arange(n), parts)):
        a = csr_matrix(dense[rows].astype(np.float32))
        block = Block(rows, a.indptr.astype(np.int64), a.indices.astype(np.int32), a.data, None, {}, np.arange(n))
        store.write(f"merged/symmetric/{index:06d}", block)
    return merged_operator(store, "symmetric")


def weights(nodes, seed, share=0.5):
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.random((nodes, nodes)) < share, 1) * generator.uniform(0.1, 1, (nodes, nodes))
    return upper + upper.T


def normalised(a):
    degree = a.sum(axis=1)
    root = np.divide(1, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    return (a * root[:, None] * root).astype(np.float32).astype(np.float64)


def bipartite(nodes):
    """Eigenvalues come in pairs of both signs."""
    side = np.arange(nodes) % 2
    return (side[:, None] != side).astype(float)


GRAPHS = {
    "two nodes": np.ones((2, 2)) - np.eye(2),
    "three nodes in a row": np.diag([1.0, 2.0], 1) + np.diag([1.0, 2.0], -1),
    "five nodes, all joined": np.ones((5, 5)) - np.eye(5),
    "both signs": bipartite(12),
    "pairs": np.kron(np.eye(20), 1 - np.eye(2)),
    "parts of several sizes": block_diag(*(weights(size, size, 0.9) for size in (2, 3, 7, 15, 21))),
    "isolated nodes": block_diag(weights(20, 1), np.zeros((10, 10))),
    "one edge": block_diag(1 - np.eye(2), np.zeros((30, 30))),
    "sixty nodes": weights(60, 3, 0.1),
}


def check(operator, dense, work, channels):
    n = len(dense)
    found, rounds = chebyshev(operator, work, ChebyshevSettings(channels, TOL, 40, 60, 0), 1, lambda _: None)
    last = rounds[-1]
    expected = np.linalg.eigvalsh(dense)[::-1]
    x = found.view()
    assert x.dtype == np.float32 and x.shape == (n, block_width(n, channels)) == (n, len(last.ritz))
    np.testing.assert_allclose(last.ritz[:channels], expected[:channels], atol=1e-6)
    assert (np.diff(last.ritz) <= 1e-7).all()
    x = x[:, :channels].astype(np.float64)
    np.testing.assert_allclose(x.T @ x, np.eye(channels), atol=1e-5)
    residuals = np.linalg.norm(dense @ x - x * last.ritz[:channels], axis=0)
    assert residuals.max() <= TOL and last.residuals[:channels].max() <= TOL
    return found, rounds


@pytest.mark.parametrize("name", GRAPHS)
def test_every_number_of_eigenvectors_equals_the_dense_solver(tmp_path, name):
    dense = normalised(GRAPHS[name])
    n = len(dense)
    operator = operator_of(tmp_path / "g", dense, min(n, 3))
    for channels in sorted({*range(1, min(n, 5) + 1), n // 2, n - 1, n} - {0}):
        check(operator, dense, tmp_path / f"w{channels}", channels)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 130), st.floats(0.02, 0.9), st.integers(1, 4), st.integers(0, 2**20), st.data())
def test_random_graphs_equal_the_dense_solver(tmp_path_factory, nodes, share, parts, seed, data):
    """Also those that are iterated: nothing but the size tells which way is taken."""
    dense = normalised(block_diag(*(weights(size, seed + size, share) for size in [nodes // parts + 1] * parts)))
    channels = data.draw(st.integers(1, len(dense)))
    folder = tmp_path_factory.mktemp("g")
    operator = operator_of(folder / "g", dense, 2)
    if not dense.any():
        with pytest.raises(SolverError):
            check(operator, dense, folder / "w", channels)
        return
    check(operator, dense, folder / "w", channels)


def test_the_small_solution_is_reproducible_and_told_in_one_round(tmp_path):
    dense = normalised(GRAPHS["sixty nodes"])
    operator, seen = operator_of(tmp_path / "g", dense), []
    results = [
        chebyshev(operator, str(tmp_path / w), ChebyshevSettings(60, TOL, 40, 1, seed), 1, seen.append)
        for w, seed in zip("ab", (0, 7), strict=True)
    ]
    assert np.array_equal(results[0][0].view(), results[1][0].view())
    assert [r.index for r in seen] == [1, 1] and all(r.dense and r.degree == 0 for r in seen)


def test_large_operators_are_iterated():
    assert is_small(60, block_width(60, 60)) and is_small(100, block_width(100, 27))
    assert not is_small(400, block_width(400, 8)) and not is_small(1 << 20, 1 << 19)


@pytest.mark.parametrize("nodes", [1, 2, 40, 300])
def test_a_graph_without_edges_is_refused(tmp_path, nodes):
    operator = operator_of(tmp_path / "g", np.zeros((nodes, nodes)))
    with pytest.raises(SolverError, match=r"no edges.*`threshold`"):
        chebyshev(operator, tmp_path / "w", ChebyshevSettings(1, TOL, 40, 60, 0), 1, lambda _: None)


@pytest.mark.parametrize(
    ("channels", "tol"), [(0, TOL), (-1, TOL), (6, TOL), (2, 0.0), (2, np.nan), (2, np.inf), (2, -1)]
)
def test_requests_that_cannot_be_met_are_named(tmp_path, channels, tol):
    operator = operator_of(tmp_path / "g", normalised(GRAPHS["five nodes, all joined"]))
    with pytest.raises(SolverError, match="`tol=" if channels == 2 else "`channels=.*5 nodes") as refused:
        chebyshev(operator, tmp_path / "w", ChebyshevSettings(channels, tol, 40, 60, 0), 1, lambda _: None)
    assert str(tol if channels == 2 else channels) in str(refused.value)
    start = np.ones((4, 2))
    with pytest.raises(SolverError, match=r"\(4, 2\)"):
        chebyshev(operator, tmp_path / "w", ChebyshevSettings(2, TOL, 40, 60, 0), 1, lambda _: None, start=start)
