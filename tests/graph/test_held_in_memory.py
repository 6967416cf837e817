"""What is held in memory instead of being read anew changes the time, not the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spectral_graph.graph import dataset_scope
from spectral_graph.graph.affinity import nearest
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import LayerBuilder, plan_blocks
from spectral_graph.graph.operator import affinity_operator
from spectral_graph.graph.selection import Selection

IMAGE_PTR = np.arange(0, 61, 12)


class Outside:
    def __init__(self, rows):
        self.lists = nearest(rows, None, torch.from_numpy(IMAGE_PTR), (0, 3), 0.0)

    def csr(self, start, stop):
        return self.lists.part(start, stop)


def graph(folder):
    """Build a balanced graph of 60 nodes in five blocks."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32))

    def inside(first, last):
        pointers = torch.from_numpy(IMAGE_PTR[first : last + 1] - IMAGE_PTR[first])
        return nearest(rows[IMAGE_PTR[first] : IMAGE_PTR[last]], None, pointers, (3, 0), 0.0)

    store = GraphStore.create(folder / "graph.zarr", {"nodes": 60, "rounds": 1})
    bounds = plan_blocks(IMAGE_PTR, 12)
    builder = LayerBuilder(store, "a", IMAGE_PTR, bounds, Selection(3, 3, hubs="sinkhorn"), True, folder / "work")
    assert len(list(builder.build(inside, Outside(rows), {"recall": 1.0}))) == 5
    return store


@pytest.mark.parametrize("held", [0, 2500])
def test_balancing_gives_the_same_bits_whatever_is_held(tmp_path, monkeypatch, held):
    expected = graph(tmp_path / "all")
    monkeypatch.setattr(dataset_scope, "HELD_BYTES", held)
    found = graph(tmp_path / "some")
    for name in expected.names("blocks/a"):
        one, other = expected.read(name), found.read(name)
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.degree, other.degree)
    degrees = expected.read_degrees("a")
    assert degrees.min() > 0 and degrees.max() < 1.1 * degrees.min()


def test_blocks_that_may_stay_are_read_once(tmp_path, monkeypatch):
    store = graph(tmp_path)
    operator = affinity_operator(store, "a")
    operator.allow(0)
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    expected = operator @ x
    lean = type(operator)(store, store.names("blocks/a"), 60, 1, kept_bytes=0)
    read, names = store.read, []
    monkeypatch.setattr(store, "read", lambda name: (names.append(name), read(name))[1])
    np.testing.assert_array_equal(lean @ x, expected)
    np.testing.assert_array_equal(lean @ x, expected)
    assert len(names) == 10
    lean.allow(1 << 20)
    for _ in range(3):
        np.testing.assert_array_equal(lean @ x, expected)
    assert len(names) == 15
