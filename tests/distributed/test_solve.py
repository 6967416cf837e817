"""Operator, solver and reorthogonalisation shared by processes, against dense linear algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.sparse import csr_matrix
from shared_work import (
    Stop,
    in_processes,
    make_orthogonal,
    multiply,
    random_graph,
    result_of,
    solve,
    store_batches,
    store_graph,
    walk_form,
)

from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError, LostProcessError, SolverError
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve import streaming
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.streaming import random_rows

PER_IMAGE, IMAGES = 12, 9
NODES = PER_IMAGE * IMAGES


def graph(path, scope):
    if scope == "batch":
        return store_batches(path, NODES, PER_IMAGE)
    dense = random_graph(NODES, np.random.default_rng(1))
    return store_graph(path, dense, 4, PER_IMAGE), dense


@pytest.mark.parametrize("scope", ["batch", "dataset"])
@pytest.mark.parametrize("size", [2, 3])
def test_product_equals_dense_and_only_needed_rows_are_sent(tmp_path, scope, size):
    _, dense = graph(tmp_path / "g", scope)
    x = np.random.default_rng(0).standard_normal((NODES, 5)).astype(np.float32)
    found = result_of(in_processes(size, multiply, tmp_path / "g", tmp_path / "w", x))
    assert [part.start for part, _, _ in found] == [IMAGES * rank // size * PER_IMAGE for rank in range(size)]
    np.testing.assert_allclose(np.concatenate([product for _, product, _ in found]), dense @ x, atol=1e-5)
    for own, _, sent in found:
        elsewhere = [
            (dense[other.start : other.stop, own.start : own.stop] != 0) for other, _, _ in found if other != own
        ]
        assert sent == sum(int(part.any(axis=0).sum()) for part in elsewhere) * 5 * 4


@pytest.mark.parametrize("scope", ["batch", "dataset"])
def test_the_form_of_eqn_3_equals_dense_in_every_process(tmp_path, scope):
    store, dense = graph(tmp_path / "g", scope)
    x = np.random.default_rng(0).standard_normal((NODES, 5)).astype(np.float32)
    walk = np.zeros_like(dense)
    for name in store.names("blocks/a"):
        block = store.read(name)
        a = csr_matrix((block.values, block.indices, block.indptr), block.shape).toarray()
        walk[np.ix_(block.rows, block.column_ids)] += a / np.maximum(a.sum(axis=1, keepdims=True), 1e-30)
    expected = x.T @ (walk / store.attributes["rounds"]) @ x
    for found in result_of(in_processes(3, walk_form, tmp_path / "g", tmp_path / "w", x)):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("scope", ["batch", "dataset"])
def test_eigenvectors_equal_dense_for_one_two_and_three_processes(tmp_path, scope):
    store, dense = graph(tmp_path / "g", scope)
    values, vectors = np.linalg.eigh(dense)
    leading = vectors[:, ::-1][:, :5]
    one, rounds = chebyshev(
        merged_operator(store, "symmetric"),
        tmp_path / "one",
        ChebyshevSettings(5, 1e-5, 3, 40, 0),
        PER_IMAGE,
        lambda _: None,
    )
    assert subspace_angles(one.view()[:, :5].astype(np.float64), leading).max() < 1e-4
    for size in (2, 3):
        parts = result_of(in_processes(size, solve, tmp_path / "g", tmp_path / f"w{size}", 5))
        x = np.concatenate([part[0] for part in parts]).astype(np.float64)
        assert subspace_angles(x, leading).max() < 1e-4
        for _, ritz, quotients, value, done in parts:
            np.testing.assert_allclose(ritz, values[::-1][:5], atol=1e-5)
            np.testing.assert_allclose(quotients, values[::-1][:5], atol=1e-5)
            assert value == pytest.approx(values[::-1][:5].mean(), abs=1e-5)
            assert done == len(rounds)
            np.testing.assert_array_equal(ritz, parts[0][1])


def test_a_process_without_edges_to_the_others(tmp_path):
    dense = np.zeros((NODES, NODES))
    half = NODES // 3 * 2
    dense[:half, :half] = random_graph(half, np.random.default_rng(2))
    dense[half:, half:] = 0.5 * random_graph(NODES - half, np.random.default_rng(3), groups=2)
    store_graph(tmp_path / "g", dense, 3, PER_IMAGE)
    parts = result_of(in_processes(3, solve, tmp_path / "g", tmp_path / "w", 5))
    np.testing.assert_allclose(parts[0][1], np.linalg.eigvalsh(dense)[::-1][:5], atol=1e-5)
    products = result_of(in_processes(3, multiply, tmp_path / "g", tmp_path / "w", np.ones((NODES, 2), np.float32)))
    assert products[0][2] > 0 and products[2][2] == 0


def test_a_process_whose_nodes_have_no_edges(tmp_path):
    dense = np.zeros((NODES, NODES))
    half = NODES // 3 * 2
    dense[:half, :half] = random_graph(half, np.random.default_rng(2))
    store = store_graph(tmp_path / "g", dense, 3, PER_IMAGE)
    x = np.random.default_rng(0).standard_normal((NODES, 2)).astype(np.float32)
    products = result_of(in_processes(3, multiply, tmp_path / "g", tmp_path / "w", x))
    together = np.concatenate([product for _, product, _ in products])
    np.testing.assert_allclose(together, dense @ x, atol=1e-5)
    np.testing.assert_allclose(merged_operator(store, "symmetric") @ x, dense @ x, atol=1e-5)


def test_a_solve_stopped_with_two_processes_resumes_with_three_and_with_one(tmp_path):
    store, dense = graph(tmp_path / "g", "dataset")
    leading = np.linalg.eigh(dense)[1][:, ::-1][:, :5]
    stopped = in_processes(2, solve, tmp_path / "g", tmp_path / "w", 5, 40, 1)
    assert any(isinstance(outcome, Stop) for outcome in stopped)
    assert all(isinstance(outcome, Stop | LostProcessError) for outcome in stopped)
    assert len(Bank.open(tmp_path / "w" / "state").notes["rounds"]) == 1
    stopped = in_processes(3, solve, tmp_path / "g", tmp_path / "w", 5, 40, 2)
    assert any(isinstance(outcome, Stop) for outcome in stopped)
    state = Bank.open(tmp_path / "w" / "state")
    assert len(state.notes["rounds"]) == 2 and state.generation == 2
    one, rounds = chebyshev(
        merged_operator(store, "symmetric"),
        tmp_path / "w",
        ChebyshevSettings(5, 1e-5, 3, 40, 0),
        PER_IMAGE,
        lambda _: None,
    )
    assert len(rounds) > 2
    assert subspace_angles(one.view()[:, :5].astype(np.float64), leading).max() < 1e-4


def test_start_is_taken_by_its_own_rows(tmp_path):
    _, dense = graph(tmp_path / "g", "dataset")
    exact = np.ascontiguousarray(np.linalg.eigh(dense)[1][:, ::-1][:, :5]).astype(np.float32)
    parts = result_of(in_processes(2, solve, tmp_path / "g", tmp_path / "w", 5, 1, None, exact))
    cosines = np.concatenate([part[0] for part in parts]).T @ exact
    np.testing.assert_allclose(np.abs(cosines), np.eye(5), atol=1e-4)
    exact[-1, 0] = np.nan
    first, second = in_processes(2, solve, tmp_path / "g", tmp_path / "v", 5, 1, None, exact)
    assert isinstance(second, SolverError) and "process 1 of 2: warm start" in str(second)
    assert isinstance(first, LostProcessError)


def test_more_processes_than_images_are_refused(tmp_path):
    store_graph(tmp_path / "g", random_graph(NODES, np.random.default_rng(0)), 1, NODES // 2)
    for outcome in in_processes(3, multiply, tmp_path / "g", tmp_path / "w", np.ones((NODES, 1), np.float32)):
        assert isinstance(outcome, ConfigError)
        assert "--nproc-per-node" in str(outcome)


@pytest.mark.parametrize("order", ["gram", "ritz"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_orthogonal_bank_of_three_processes(tmp_path, order, dtype):
    _, dense = graph(tmp_path / "g", "dataset")
    bank = Bank(tmp_path / "bank", (NODES, 4), ("X",), PER_IMAGE, dtype)
    bank.begin()
    bank.write(range(IMAGES), np.random.default_rng(0).standard_normal((NODES, 4)).astype(np.float32))
    bank.commit()
    x = bank.read(0, IMAGES).astype(np.float64)
    paths = tmp_path / "g", tmp_path / "w", tmp_path / "bank", tmp_path / "ortho"
    parts = result_of(in_processes(3, make_orthogonal, *paths, order))
    if order == "gram":
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        expected, eigenvalues = u * s, s**2
    else:
        q = np.linalg.qr(x)[0]
        ritz, turn = np.linalg.eigh(q.T @ dense @ q)
        expected, eigenvalues = q @ turn[:, ::-1], ritz[::-1]
    expected = expected * np.sign(expected[np.abs(expected).argmax(axis=0), np.arange(4)])
    for found, off_diagonal, generation, stored in parts:
        np.testing.assert_allclose(found, eigenvalues, rtol=1e-5)
        np.testing.assert_allclose(stored.astype(np.float64), expected, atol=1e-4 if dtype == "float32" else 0.05)
        assert off_diagonal < (1e-5 if dtype == "float32" else 2**-7)
        assert generation == 1
    assert Bank.open(tmp_path / "ortho").n_images == IMAGES  # its checksums are those of the rows


@given(
    first=st.integers(0, 70),
    rows=st.integers(0, 70),
    channels=st.integers(1, 5),
)
def test_random_rows_do_not_depend_on_who_draws_them(first, rows, channels):
    before, streaming.ROWS = streaming.ROWS, 16
    try:
        whole, part = np.empty((140, channels), np.float32), np.empty((rows, channels), np.float32)
        random_rows(whole, 3, 2)
        random_rows(part, 3, 2, first)
    finally:
        streaming.ROWS = before
    np.testing.assert_array_equal(part, whole[first : first + rows])
