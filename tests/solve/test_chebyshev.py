import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

import spectral_graph.solve.chebyshev as solver
from spectral_graph.errors import SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import merged_operator
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev, rayleigh_quotients
from spectral_graph.solve.lanczos import estimate_spectrum


def planted_store(path, nodes=400, groups=6, seed=0, normalisation="symmetric"):
    """A graph of weakly joined groups, two layers, two mini-batches in two rounds, as the graph stage writes it."""
    generator = np.random.default_rng(seed)
    membership = generator.integers(0, groups, nodes)
    store = GraphStore.create(path, {"nodes": nodes, "rounds": 2})
    dense = np.zeros((nodes, nodes))
    order = np.arange(nodes)
    parts = [order[::2], order[1::2], order[: nodes // 2], order[nodes // 2 :]]
    for index, rows in enumerate(parts):
        blocks = []
        for _ in range(2):
            same = membership[rows][:, None] == membership[rows]
            chance = np.where(same, 0.25, 0.01)
            upper = np.triu(generator.random(same.shape) < chance, 1) * generator.uniform(0.2, 1, same.shape)
            a = csr_matrix((upper + upper.T).astype(np.float32))
            degree = np.asarray(a.sum(axis=1)).ravel()
            blocks.append(Block(rows, a.indptr.astype(np.int64), a.indices, a.data, degree, {}))
        merged = merge_layers(blocks, normalisation)
        store.write(f"merged/{normalisation}/{index:06d}", merged)
        inner = csr_matrix((merged.values, merged.indices, merged.indptr), shape=(len(rows),) * 2).toarray()
        dense[np.ix_(rows, rows)] += inner / 2
    return merged_operator(store, normalisation), dense, membership


def run(operator, work, channels=8, tol=1e-4, max_rounds=40, degree=40, seed=0, on_round=lambda _: None, **more):
    memory = {name: more.pop(name) for name in ["memory_bytes"] if name in more}
    settings = ChebyshevSettings(channels, tol, degree, max_rounds, seed, **memory)
    return chebyshev(operator, work, settings, 1, on_round, **more)


@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
def test_eigenpairs_equal_dense(tmp_path, normalisation):
    operator, dense, _ = planted_store(tmp_path / "g", normalisation=normalisation)
    bank, rounds = run(operator, tmp_path / "w", tol=1e-5)
    values, vectors = np.linalg.eigh(dense)
    np.testing.assert_allclose(rounds[-1].ritz[:8], values[::-1][:8], atol=1e-5)
    assert rounds[-1].residuals[:8].max() <= 1e-5
    x = bank.view()[:, :6].astype(np.float64)
    leading = vectors[:, ::-1][:, :6]  # the six groups stand apart from the rest of the spectrum
    cosines = np.linalg.svd(leading.T @ x, compute_uv=False)
    assert np.arccos(np.clip(cosines.min(), -1, 1)) < 1e-3
    np.testing.assert_allclose(x.T @ x, np.eye(6), atol=1e-5)


def test_estimates_contain_the_spectrum_and_count_it(tmp_path):
    operator, dense, _ = planted_store(tmp_path / "g")
    spectrum = estimate_spectrum(operator, 0, 16)
    values = np.linalg.eigvalsh(dense)
    assert spectrum.lower <= values[0] + 1e-6
    assert spectrum.upper >= values[-1] - 1e-6
    for count in (100, 200, 300):
        assert abs(np.sum(values > spectrum.value_at(count)) - count) < 40


def test_residuals_are_those_of_the_vectors_returned(tmp_path):
    operator, dense, _ = planted_store(tmp_path / "g")
    found, rounds = run(operator, tmp_path / "w", channels=8, tol=1e-3)
    x = found.view().astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(x, axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(x[:, :8], axis=0), 1, atol=1e-6)
    expected = np.linalg.norm(dense @ x[:, :8] - x[:, :8] * rounds[-1].ritz[:8], axis=0)
    np.testing.assert_allclose(rounds[-1].residuals[:8], expected, atol=2e-6)


@pytest.mark.parametrize("memory_bytes", [1 << 30, 0])
def test_interrupted_solve_ends_bit_identical(tmp_path, monkeypatch, memory_bytes):
    monkeypatch.setattr(solver, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    operator, _, _ = planted_store(tmp_path / "g")
    whole, rounds = run(operator, tmp_path / "one", tol=1e-6, degree=4)

    class Stop(Exception):
        pass

    def stop(result):
        # After the last round the result goes to the bank: it is not kept here as well.
        if result.index < len(rounds):
            raise Stop

    interrupted = 0
    for _ in range(len(rounds) + 1):
        try:
            again, _ = run(operator, tmp_path / "two", tol=1e-6, degree=4, on_round=stop, memory_bytes=memory_bytes)
            break
        except Stop:
            interrupted += 1
    assert interrupted == len(rounds) - 1 >= 2
    np.testing.assert_array_equal(whole.view(), again.view())


def test_memory_and_threads_do_not_change_a_bit(tmp_path):
    operator, _, _ = planted_store(tmp_path / "g", nodes=1500)
    whole, _ = run(operator, tmp_path / "one", tol=1e-5)
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            again, _ = run(operator, tmp_path / f"two{count}", tol=1e-5, memory_bytes=0)
            np.testing.assert_array_equal(whole.view(), again.view())
    finally:
        torch.set_num_threads(threads)


def test_as_many_channels_as_nodes(tmp_path):
    operator, dense, _ = planted_store(tmp_path / "g", nodes=24, groups=2)
    _, rounds = run(operator, tmp_path / "w", channels=24, tol=1e-4)
    np.testing.assert_allclose(rounds[-1].ritz, np.linalg.eigvalsh(dense)[::-1], atol=1e-4)


def test_bad_requests_are_worded(tmp_path):
    operator, _, _ = planted_store(tmp_path / "g", nodes=24, groups=2)
    with pytest.raises(SolverError, match=r"`channels=25`: .*24 nodes"):
        run(operator, tmp_path / "w", channels=25)
    store = GraphStore.create(tmp_path / "empty", {"nodes": 5, "rounds": 1})
    nothing = Block(np.arange(5), np.zeros(6, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), None, {})
    store.write("merged/symmetric/000000", nothing)
    with pytest.raises(SolverError, match="no edges"):
        run(merged_operator(store, "symmetric"), tmp_path / "w2", channels=2)


def test_rayleigh_quotients_equal_dense(tmp_path):
    operator, dense, _ = planted_store(tmp_path / "g")
    x = np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32)
    expected = np.einsum("nc,nm,mc->c", x, dense, x) / (x**2).sum(axis=0)
    np.testing.assert_allclose(rayleigh_quotients(operator, x, tmp_path / "w"), expected, atol=1e-5)
