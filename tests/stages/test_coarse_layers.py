"""Layers on grids coarser than the run's: resampled features, and graphs on their own nodes with the paper's g.

References are dense, in float64, with torch's own resampling.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from spectral_graph.config import make_config
from spectral_graph.distributed.comm import ONE_PROCESS
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.merge import write_merged
from spectral_graph.graph.operator import affinity_operator, merged_operator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.progress import Reporter
from spectral_graph.runs.directory import RunDirectory
from spectral_graph.runs.image_table import ImageTable, KeptImage
from spectral_graph.solve.adam import AdamSettings, adam, open_state, solution
from spectral_graph.stages.context import Context
from spectral_graph.stages.graph import build_batch_scope
from spectral_graph.stages.graph_builder import GraphBuilder
from spectral_graph.stages.graph_dataset import build_dataset_scope

IMAGES, FINE, WIDTH = 5, (6, 4), 8
GRIDS = {"mid": (3, 2), "up": (4, 3), "top": FINE}
NODES = FINE[0] * FINE[1]
COUNTS = (3, 4)
MODES = ("features", "bilinear", "area")


@pytest.fixture
def built(tmp_path):
    """Return a function that builds the V-V graph of three layers in a scope and a mode: (store, stored features)."""
    generator = np.random.default_rng(0)
    # Slots 0 and 3 were skipped: slots and nodes differ.
    slots = [1, 2, 4, 5, 6]
    features = FeatureStore.create(
        tmp_path / "features.zarr", 7, FINE, dict.fromkeys(GRIDS, WIDTH), ("v",), WIDTH, GRIDS
    )
    common = generator.standard_normal(WIDTH)
    for slot in slots:
        values = {name: {"v": common + generator.standard_normal((h * w, WIDTH))} for name, (h, w) in GRIDS.items()}
        features.write(slot, values, generator.standard_normal((NODES, WIDTH)))
    images = tuple(KeptImage(str(slot), slot, (0, 0, 6, 4), (4, 6)) for slot in slots)
    table = ImageTable(FINE, (60, 40), tuple(GRIDS), images, ())
    stored = {name: features.read(name, "v", slots, own_grid=True).astype(np.float64) for name in GRIDS}

    def build(scope, mode, **options):
        given = {
            "scope": scope,
            "coarse_layers": mode,
            "c_intra": COUNTS[0],
            "c_inter": COUNTS[1],
            "neighbours": "exact",
            "hubs": "none",
            "sharpen": 1.0,
            "centre": False,
            "block": 2 * NODES,
            **options,
        }
        config = make_config(given)
        out = tmp_path / f"{scope}-{mode}"
        with RunDirectory(out) as run:
            context = Context(config, run, None, Reporter(quiet=True), ONE_PROCESS)
            problem = GraphBuilder(context, table, FeatureStore.open(tmp_path / "features.zarr"), "vv")
            builder = build_dataset_scope if scope == "dataset" else build_batch_scope
            store = builder(problem, lambda _: True)
            problem.finish(store)
        return store, stored

    return build


def resample(x, source, target, mode):
    """Resample (n, C) rows of one image by torch."""
    image = torch.as_tensor(x).T.reshape(1, -1, *source)
    if mode == "area":
        found = functional.adaptive_avg_pool2d(image, target)
    else:
        found = functional.interpolate(image, size=target, mode="bilinear", align_corners=False)
    return found.reshape(found.shape[1], -1).T


def dense_affinity(rows, threshold=0.1):
    """(B + B^T) / 2 of (images, n, d) rows: the best COUNTS of each node inside and outside its image."""
    images, n, d = rows.shape
    unit = rows.reshape(-1, d) / np.linalg.norm(rows.reshape(-1, d), axis=1, keepdims=True)
    cosines = unit @ unit.T
    owner = np.repeat(np.arange(images), n)
    own = owner[:, None] == owner
    chosen = np.zeros_like(cosines)
    for inside, count in zip((True, False), COUNTS, strict=True):
        pool = np.where((own == inside) & ~np.eye(len(own), dtype=bool), cosines, -np.inf)
        best = np.argsort(-pool, axis=1, kind="stable")[:, :count]
        np.put_along_axis(chosen, best, np.take_along_axis(pool, best, 1), 1)
    chosen[chosen < threshold] = 0
    return (chosen + chosen.T) / 2


def expected_affinity(stored, layer, mode):
    rows = stored[layer]
    if mode == "features" and GRIDS[layer] != FINE:
        rows = np.stack([resample(image, GRIDS[layer], FINE, "bilinear").numpy() for image in rows])
    return dense_affinity(rows)


def scaled_map(layer, mode):
    """kron(I, g) of all images by torch's resampling of unit vectors; columns of length 1 keep about their length."""
    if mode == "features" or GRIDS[layer] == FINE:
        return np.eye(IMAGES * NODES)
    g = resample(np.eye(NODES), FINE, GRIDS[layer], mode).numpy()
    return np.kron(np.eye(IMAGES), g) * np.sqrt(NODES / len(g))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scope", ["batch", "dataset"])
def test_affinities_equal_dense_ones(built, scope, mode):
    store, stored = built(scope, mode)
    for layer, (h, w) in GRIDS.items():
        operator = affinity_operator(store, layer)
        expected = expected_affinity(stored, layer, mode)
        assert operator.shape == expected.shape
        assert operator.shape[0] == IMAGES * (NODES if mode == "features" else h * w)
        found = operator @ np.eye(len(expected), dtype=np.float32)
        np.testing.assert_allclose(found, expected, atol=2e-6)
        facts = store.attributes["facts"]["layers"][layer]
        assert facts["nodes"] == len(expected)
        assert facts["stored_edges"] == (expected > 0).sum()
    assert store.attributes["facts"]["all"]["nodes"] == IMAGES * NODES


@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scope", ["batch", "dataset"])
def test_the_merged_operator_is_the_mean_of_resampled_graphs(built, scope, mode, normalisation):
    """Eqn. 3: X^T (mean of g^T sym(D^-1 A) g) X; with `symmetric`, of g^T D^-1/2 A D^-1/2 g."""
    store, stored = built(scope, mode)
    ids = [name.rsplit("/", 1)[1] for name in store.names("blocks/mid")]
    assert len(ids) == (3 if scope == "dataset" else 1)
    assert list(write_merged(store, list(GRIDS), ids, normalisation)) == ids
    expected = np.zeros((IMAGES * NODES,) * 2)
    for layer in GRIDS:
        a = expected_affinity(stored, layer, mode)
        degree = a.sum(axis=1, keepdims=True)
        cut = a / np.sqrt(degree) / np.sqrt(degree.T)
        s = cut if normalisation == "symmetric" else (a / degree + a / degree.T) / 2
        g = scaled_map(layer, mode)
        expected += g.T @ s @ g / len(GRIDS)
    operator = merged_operator(store, normalisation)
    found = operator @ np.eye(IMAGES * NODES, dtype=np.float32)
    np.testing.assert_allclose(found, expected, atol=3e-6)
    if normalisation == "random_walk":
        x = np.random.default_rng(0).standard_normal((IMAGES * NODES, 5)).astype(np.float32)
        form = random_walk_form(store, list(GRIDS), operator, x)
        np.testing.assert_allclose(form + form.T, 2 * x.T @ expected @ x, atol=1e-4)


@pytest.mark.parametrize("mode", ["bilinear", "area"])
@pytest.mark.parametrize("objective", ["paper", "released"])
def test_adam_follows_autograd_through_the_resampling(built, tmp_path, objective, mode):
    """One mini-batch, torch's Adam and torch's resampling in float64, against the operators."""
    store, stored = built("batch", mode)
    channels, steps = 4, 8
    settings = AdamSettings(channels, steps, 2, 1e-2, 3, objective)
    state, _ = open_state(tmp_path / "state", IMAGES * NODES, NODES, settings)
    start = torch.from_numpy(state.read(0, IMAGES).astype(np.float64)).requires_grad_()
    losses: list[float] = []
    adam(store, list(GRIDS), ["000000"], state, settings, lambda _, found: losses.append(found.loss))

    walks = {}
    for layer in GRIDS:
        a = torch.as_tensor(expected_affinity(stored, layer, mode))
        inverse = 1 / a.sum(dim=1, keepdim=True) + (1e-6 if objective == "released" else 0)
        walks[layer] = a * inverse
    optimiser = torch.optim.Adam([start], lr=1e-2)
    expected = []
    off = ~torch.eye(channels, dtype=torch.bool)
    for _ in range(steps):
        x = start if objective == "paper" else start.softmax(dim=1)
        first, second = [], []
        for layer, grid in GRIDS.items():
            parts = [resample(image, FINE, grid, mode) for image in x.reshape(IMAGES, NODES, channels)]
            u = functional.normalize(torch.cat(parts), dim=0)
            weight = 1 if objective == "paper" else 32 / np.sqrt(grid[0] * grid[1])
            first.append(weight * ((u * (walks[layer] @ u)).sum(dim=0) - 1).abs())
            second.append(weight * (u.T @ u)[off] ** 2)
        loss = torch.cat(first).mean()
        if objective == "paper":
            loss = loss + torch.linalg.matrix_norm(x.T @ x / len(x) - torch.eye(channels, dtype=torch.float64))
        else:
            loss = loss + torch.cat(second).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected[1::2], rtol=2e-5)
    x = start if objective == "paper" else start.softmax(dim=1)
    np.testing.assert_allclose(solution(state, settings, 0, IMAGES), x.detach().numpy(), atol=2e-4)


def test_a_coarse_grid_with_fewer_nodes_than_neighbours_takes_all_of_them(built):
    store, _ = built("batch", "bilinear", c_intra=10)
    found = store.read("blocks/mid/000000")
    assert found.facts["short_rows"] >= 0
    assert store.attributes["c_intra"] == 10
    sizes = np.diff(found.indptr)
    assert sizes.max() <= IMAGES * 6 - 1


def test_components_join_through_coarse_nodes(built):
    """The facts of all layers see what the coarse layers join: every node of the run that g takes to them."""
    for mode in ("bilinear", "area"):
        store, _ = built("dataset", mode)
        facts = store.attributes["facts"]["all"]
        assert facts["isolated_nodes"] == 0
        assert facts["components"] == 1
