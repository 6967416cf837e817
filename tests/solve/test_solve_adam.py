import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from spectral_graph.errors import SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.solve import adam as module
from spectral_graph.solve.adam import adam, visit_order
from spectral_graph.solve.streaming import normal_rows

LAYERS, BATCHES = ("a", "b"), ("000000", "000001", "000002")


@pytest.fixture
def graph(tmp_path):
    """Three overlapping mini-batches of a graph with 30 nodes, 5 to an image, two layers."""
    store = GraphStore.create(tmp_path / "graph.zarr", {"nodes": 30, "rounds": 2})
    generator = np.random.default_rng(0)
    dense = {}
    for name, rows in zip(BATCHES, (np.arange(20), np.arange(10, 30), np.r_[0:10, 20:30]), strict=True):
        for layer in LAYERS:
            upper = np.triu(generator.random((20, 20)) < 0.3, 1) * generator.uniform(0.2, 1, (20, 20))
            a = csr_matrix((upper + upper.T).astype(np.float32))
            degree = np.asarray(a.sum(axis=1)).ravel()
            store.write(f"blocks/{layer}/{name}", Block(rows, a.indptr.astype(np.int64), a.indices, a.data, degree, {}))
            dense[layer, name] = (rows, torch.tensor(a.toarray(), dtype=torch.float64))
    return store, dense


def run(store, work, steps=14, on_visit=lambda *_: None):
    return adam(store, LAYERS, BATCHES, 30, work, 4, 5, steps, 3, 1e-2, 5, on_visit)


def reference(dense, steps, inner=3, seed=5):
    """The same optimisation, dense, in float64, by autograd and torch's Adam with one parameter an image."""
    start = np.empty((30, 4), np.float32)
    normal_rows(start, seed, 3)
    images = [torch.nn.Parameter(torch.tensor(part, dtype=torch.float64)) for part in start.reshape(6, 5, 4)]
    optimiser = torch.optim.Adam(images, lr=1e-2)
    losses = []
    for visit, index in enumerate(visit_order(3, -(-steps // inner), seed)):
        for _ in range(min(inner, steps - visit * inner)):
            rows = dense["a", BATCHES[index]][0]
            x = torch.cat([images[i] for i in np.unique(rows // 5)])
            u = x / x.norm(dim=0)
            loss = torch.linalg.matrix_norm(x.T @ x / len(x) - torch.eye(4, dtype=torch.float64))
            for layer in LAYERS:
                a = dense[layer, BATCHES[index]][1]
                degree = a.sum(dim=1)
                inverse = torch.where(degree > 0, 1 / degree.clamp_min(1e-30), 0.0)
                loss = loss + ((u * (inverse[:, None] * (a @ u))).sum(dim=0) - 1).abs().sum() / 8
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        losses.append(float(loss))
    return torch.cat(images).detach().numpy(), losses


@pytest.mark.parametrize("steps", [1, 14])
def test_equals_a_dense_float64_run_with_autograd(graph, tmp_path, steps):
    store, dense = graph
    bank, history = run(store, tmp_path / "w", steps)
    expected, losses = reference(dense, steps)
    np.testing.assert_allclose(bank.view(), expected, atol=2e-4)
    np.testing.assert_allclose([entry["loss"] for entry in history], losses, rtol=1e-4)
    assert history[-1]["step"] == steps


def test_interrupted_run_ends_bit_identical(graph, tmp_path, monkeypatch):
    store, _ = graph
    monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole, history = run(store, tmp_path / "one")

    class Stop(Exception):
        pass

    def stop_at(limit):
        def stop(step, _):
            if step >= limit:
                raise Stop

        return stop

    for limit in (3, 6, 9, 12):
        with pytest.raises(Stop):
            run(store, tmp_path / "two", on_visit=stop_at(limit))
    again, repeated = run(store, tmp_path / "two")
    for name in ("X", "m", "v"):
        np.testing.assert_array_equal(np.array(whole.view(name)), np.array(again.view(name)))
    assert repeated == history


def test_divergence_is_worded(graph, tmp_path):
    store, _ = graph
    with pytest.raises(SolverError, match="lower --learning-rate"):
        adam(store, LAYERS, BATCHES, 30, tmp_path / "w", 4, 5, 20, 3, 1e38, 5, lambda *_: None)


def test_every_batch_is_visited_once_an_epoch():
    order = visit_order(5, 12, 0)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order == visit_order(5, 12, 0) != visit_order(5, 12, 1)
