import json

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from spectral_graph.bank import Bank
from spectral_graph.errors import FormatError, SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.solve import adam as module
from spectral_graph.solve.adam import AdamSettings, adam, open_state, solution, visit_order
from spectral_graph.solve.streaming import normal_rows

LAYERS, BATCHES = ("a", "b"), ("000000", "000001", "000002")
IMAGES, NODES, CHANNELS = 6, 5, 4
RELEASED = {"objective": "released", "ema": 0.9}


@pytest.fixture
def graph(tmp_path):
    """Three overlapping mini-batches of a graph with 30 nodes, 5 to an image, two layers; node 29 has no edges."""
    store = GraphStore.create(tmp_path / "graph.zarr", {"nodes": 30, "rounds": 2})
    generator = np.random.default_rng(0)
    dense = {}
    for name, rows in zip(BATCHES, (np.arange(20), np.arange(10, 30), np.r_[0:10, 20:30]), strict=True):
        for layer in LAYERS:
            upper = np.triu(generator.random((20, 20)) < 0.3, 1) * generator.uniform(0.2, 1, (20, 20))
            upper[rows == 29] = 0
            upper[:, rows == 29] = 0
            a = csr_matrix((upper + upper.T).astype(np.float32))
            degree = np.asarray(a.sum(axis=1)).ravel()
            store.write(f"blocks/{layer}/{name}", Block(rows, a.indptr.astype(np.int64), a.indices, a.data, degree, {}))
            dense[layer, name] = (rows, torch.tensor(a.toarray(), dtype=torch.float64))
    return store, dense


def settings_of(steps=14, inner_steps=3, learning_rate=1e-2, **more):
    return AdamSettings(CHANNELS, steps, inner_steps, learning_rate, 5, **more)


def run(store, work, settings=None, on_visit=lambda *_: None):
    settings = settings or settings_of()
    state, damage = open_state(work, IMAGES * NODES, NODES, settings)
    adam(store, LAYERS, BATCHES, state, settings, on_visit)
    return state, damage


def paper_loss(x, matrices):
    u = x / x.norm(dim=0)
    loss = torch.linalg.matrix_norm(x.T @ x / len(x) - torch.eye(CHANNELS, dtype=torch.float64))
    for a in matrices:
        degree = a.sum(dim=1)
        inverse = torch.where(degree > 0, 1 / degree.clamp_min(1e-30), 0.0)
        loss = loss + ((u * (inverse[:, None] * (a @ u))).sum(dim=0) - 1).abs().sum() / (len(matrices) * CHANNELS)
    return loss


def released_loss(logits, matrices):
    """protocols: softmax over channels, per graph unit columns, w = 32 / side, means, 1 / degree + 1e-6."""
    x = logits.softmax(dim=1)
    weight = 32 / np.sqrt(NODES)
    first, second = [], []
    for a in matrices:
        u = torch.nn.functional.normalize(x, dim=0)
        degree = a.sum(dim=1)
        walk = a * torch.where(degree > 0, 1 / degree.clamp_min(1e-30) + 1e-6, 0.0)[:, None]
        first.append(weight * (torch.diagonal(u.T @ walk @ u) - 1).abs())
        off = ~torch.eye(CHANNELS, dtype=torch.bool)
        second.append(weight * (u.T @ u)[off] ** 2)
    return torch.cat(first).mean() + torch.cat(second).mean()


def reference(dense, settings):
    """The same optimisation, dense, in float64, by autograd and torch's optimiser with one parameter an image.

    Yields, after each visit, the loss of its last step, X and the eager average of X.
    """
    start = np.empty((IMAGES * NODES, CHANNELS), np.float32)
    normal_rows(start, settings.seed, 3)
    parts = start.reshape(IMAGES, NODES, CHANNELS)
    images = [torch.nn.Parameter(torch.tensor(part, dtype=torch.float64)) for part in parts]
    if settings.objective == "paper":
        loss_of, optimiser = paper_loss, torch.optim.Adam(images, lr=settings.learning_rate)
    else:
        loss_of, optimiser = released_loss, torch.optim.AdamW(images, lr=settings.learning_rate, weight_decay=0)
    ema = torch.cat(images).detach()
    for visit, index in enumerate(visit_order(3, settings.visits, settings.seed)):
        rows = dense["a", BATCHES[index]][0]
        for _ in range(min(settings.inner_steps, settings.steps - visit * settings.inner_steps)):
            x = torch.cat([images[i] for i in np.unique(rows // NODES)])
            loss = loss_of(x, [dense[layer, BATCHES[index]][1] for layer in LAYERS])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        now = torch.cat(images).detach()
        ema = settings.ema * ema + (1 - settings.ema) * now
        yield float(loss.detach()), now.numpy().copy(), ema.numpy().copy()


@pytest.mark.parametrize("inner_steps", [1, 3])
@pytest.mark.parametrize("options", [{}, {"ema": 0.8}, RELEASED, {"objective": "released"}])
def test_every_step_equals_a_dense_float64_run_with_autograd(graph, tmp_path, options, inner_steps):
    store, dense = graph
    settings = settings_of(14, inner_steps, **options)
    expected = list(reference(dense, settings))
    losses = []
    state, _ = run(store, tmp_path / "w", settings, lambda step, objective: losses.append(objective.loss))
    np.testing.assert_allclose(losses, [loss for loss, _, _ in expected], rtol=1e-4)
    np.testing.assert_allclose(state.view(), expected[-1][1], atol=3e-4)
    history = state.notes["history"]
    assert history[-1]["step"] == 14 and [entry["loss"] for entry in history] == losses
    assert set(history[0]) == {"step", "loss", "eigenvalue", "orthogonality", "gradient_norm"}
    last = expected[-1][2] if settings.ema else expected[-1][1]
    if settings.objective == "released":
        last = torch.tensor(last).softmax(dim=1).numpy()
    found = np.concatenate([solution(state, settings, i, i + 1) for i in range(IMAGES)])
    np.testing.assert_allclose(found, last, atol=3e-4)


@pytest.mark.parametrize("options", [{}, RELEASED])
def test_early_steps_equal_the_reference(graph, tmp_path, options):
    """X after one step, two and six."""
    store, dense = graph
    expected = list(reference(dense, settings_of(6, 1, **options)))
    for step in (1, 2, 6):
        _, x, _ = expected[step - 1]
        state, _ = run(store, tmp_path / str(step), settings_of(step, 1, **options))
        np.testing.assert_allclose(state.view(), x, atol=2e-4)


def test_each_image_counts_its_own_steps(graph, tmp_path):
    store, _ = graph
    settings = settings_of(4 * 3 + 1)
    state, _ = run(store, tmp_path / "w", settings)
    expected = np.zeros(IMAGES, int)
    members = ([0, 1, 2, 3], [2, 3, 4, 5], [0, 1, 4, 5])
    for visit, index in enumerate(visit_order(3, 5, 5)):
        expected[members[index]] += 3 if visit < 4 else 1
    np.testing.assert_array_equal(state.records["steps"], expected)


class Stop(Exception):
    pass


def stop_at(limit):
    def stop(step, _):
        if step >= limit:
            raise Stop

    return stop


@pytest.mark.parametrize("options", [{}, RELEASED])
def test_interrupted_run_ends_bit_identical(graph, tmp_path, monkeypatch, options):
    store, _ = graph
    settings = settings_of(**options)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 1e9)
    whole, _ = run(store, tmp_path / "one", settings)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    for limit in (3, 6, 9, 12):
        with pytest.raises(Stop):
            run(store, tmp_path / "two", settings, stop_at(limit))
    again, _ = run(store, tmp_path / "two", settings)
    for name in whole.names:
        np.testing.assert_array_equal(np.array(whole.view(name)), np.array(again.view(name)))
    for counter in ("steps", "averaged"):
        np.testing.assert_array_equal(whole.records[counter], again.records[counter])
    assert whole.notes == again.notes
    found = [solution(state, settings, 0, IMAGES) for state in (whole, again)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_checkpoint_costs_one_checkpoint(graph, tmp_path, monkeypatch, damage):
    store, _ = graph
    whole, _ = run(store, tmp_path / "one")
    monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(Stop):
        run(store, tmp_path / "two", on_visit=stop_at(9))
    file = next((tmp_path / "two").glob(f"m.{Bank.open(tmp_path / 'two').generation}.f32"))
    raw = bytearray(file.read_bytes())
    raw[40] ^= 1
    # The draft that the interruption left has taken over the files of the generation before.
    with pytest.raises(Stop):
        run(store, tmp_path / "two", on_visit=stop_at(9))
    state = Bank.open(tmp_path / "two")
    state.revise()
    state.commit(**state.notes)
    file = tmp_path / "two" / f"m.{state.generation}.f32"
    file.write_bytes(raw if damage == "flip" else raw[:50])
    again, said = run(store, tmp_path / "two")
    assert f"{file.name}" in said and f"went back to generation {state.generation - 1}" in said
    for name in whole.names:
        np.testing.assert_array_equal(np.array(whole.view(name)), np.array(again.view(name)))
    about = json.loads((tmp_path / "two" / "bank.json").read_text())
    file = tmp_path / "two" / f"X.{about['generation']}.f32"
    file.write_bytes(b"")
    (tmp_path / "two" / "previous.json").unlink()
    with pytest.raises(FormatError, match=r"has 0 bytes.*`force=solve`"):
        run(store, tmp_path / "two")


@pytest.mark.parametrize("options", [{}, RELEASED])
def test_the_result_does_not_depend_on_threads(graph, tmp_path, options):
    store, _ = graph
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            state, _ = run(store, tmp_path / str(threads), settings_of(**options))
            found.append(solution(state, settings_of(**options), 0, IMAGES))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_bad_requests_are_worded(graph, tmp_path):
    store, _ = graph
    with pytest.raises(SolverError, match="lower `learning_rate`"):
        run(store, tmp_path / "w", settings_of(20, learning_rate=1e38))
    block = store.read("blocks/b/000001")
    half = csr_matrix((block.values, block.indices, block.indptr), shape=(20, 20))[:10, :10]
    parts = (half.indptr.astype(np.int64), half.indices, half.data)
    store.write("blocks/b/000001", Block(block.rows[:10], *parts, np.asarray(half.sum(axis=1)).ravel(), {}))
    with pytest.raises(SolverError) as caught:
        run(store, tmp_path / "w2")
    assert all(value in str(caught.value) for value in ("layer b", "10 nodes", "4 images"))
    columns = np.arange(30)
    everywhere = Block(block.rows, block.indptr, block.indices, block.values, block.degree, {}, columns)
    for name in BATCHES:
        store.write(f"blocks/a/{name}", everywhere)
    with pytest.raises(SolverError, match="`scope=batch`"):
        run(store, tmp_path / "w3")


def test_every_batch_is_visited_once_an_epoch():
    order = visit_order(5, 12, 0)
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order == visit_order(5, 12, 0) != visit_order(5, 12, 1)
