import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_graph import build, dense_of, vectors

from spectral_graph.errors import GraphError
from spectral_graph.graph.affinity import build_affinity
from spectral_graph.graph.dataset_scope import plan_blocks
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import BlockOperator, affinity_operator
from spectral_graph.graph.selection import Selection


def dense_selection(query, key, sizes, selection):
    """The directed graph B as its definition reads, in float64."""

    def unit(rows):
        rows = rows.numpy().astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    s = unit(query) @ unit(query if key is None else key).T
    image = np.repeat(np.arange(len(sizes)), sizes)
    n = len(s)
    same = (image[:, None] == image) & ~np.eye(n, dtype=bool)
    other = image[:, None] != image
    usable = (s >= selection.threshold) & (s > 0)
    factor = 2 if selection.hubs == "csls" else 1
    b = np.zeros((n, n), bool)
    for pool, c in ((same, selection.c_intra), (other, selection.c_inter)):
        candidates = np.zeros((n, n), bool)
        for i in range(n):
            found = np.flatnonzero(pool[i] & usable[i])
            candidates[i, sorted(found, key=lambda j, i=i: (-s[i, j], j))[: factor * c]] = True
        if selection.hubs == "csls":
            known = np.where(candidates, s, 0) if key is None else np.where(candidates, s, 0).T
            best = -np.sort(-known, axis=1)[:, :c]
            r = best.sum(axis=1) / np.maximum((best > 0).sum(axis=1), 1)
            score = 2 * s - r
            for i in range(n):
                found = np.flatnonzero(candidates[i])
                b[i, sorted(found, key=lambda j, i=i: (-score[i, j], j))[:c]] = True
        else:
            b |= candidates
    if selection.hubs == "cap":
        most = int(selection.hub_cap * (selection.c_intra + selection.c_inter))
        for j in range(n):
            found = np.flatnonzero(b[:, j])
            b[sorted(found, key=lambda i, j=j: (-s[i, j], i))[most:], j] = False
    elif selection.hubs == "mutual":
        b &= b.T
    return np.where(b, s**selection.sharpen, 0)


def dense_affinity(query, key, sizes, selection):
    b = dense_selection(query, key, sizes, selection)
    a = (b + b.T) / 2
    if selection.hubs == "sinkhorn":
        alive = a.any(axis=1)
        d = np.where(alive, 1 / np.sqrt(np.where(alive, a.sum(axis=1), 1)), 0)
        for _ in range(20):
            d[alive] = np.sqrt(d[alive] / (a @ d)[alive])
        a = d[:, None] * a * d
    return a, (b > 0).sum(axis=0), (b > 0).sum(axis=1)


HUBS = ["none", "mutual", "cap", "csls", "sinkhorn"]


@pytest.mark.parametrize("hubs", HUBS)
@pytest.mark.parametrize("same", [True, False])
def test_graph_and_degrees_equal_the_dense_definition(tmp_path, hubs, same):
    sizes = [7, 5, 9, 6, 7]
    image_ptr = np.r_[0, np.cumsum(sizes)]
    query = vectors(34, 6, 1, hub=True)
    key = None if same else vectors(34, 6, 2, hub=True)
    selection = Selection(2, 3, 0.1, 2.0, hubs, 1.2)
    store = build(tmp_path, query, key, image_ptr, selection, 12)
    expected, in_degree, out_degree = dense_affinity(query, key, sizes, selection)
    found = dense_of(store, "blocks/a", 34)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_array_equal(found, found.T)
    blocks = [store.read(name) for name in store.names("blocks/a")]
    assert len(blocks) == 5
    np.testing.assert_array_equal(np.concatenate([block.in_degree for block in blocks]), in_degree)
    np.testing.assert_allclose(store.read_degrees("a"), expected.sum(axis=1), atol=1e-5)
    assert sum(block.facts["short_rows"] for block in blocks) == (out_degree < 5).sum()
    assert not (tmp_path / "work" / "a").exists()
    if hubs == "sinkhorn":
        assert np.abs(found[out_degree > 0].sum(axis=1) - 1).max() < 0.1
    x = np.random.default_rng(0).standard_normal((34, 3)).astype(np.float32)
    np.testing.assert_allclose(affinity_operator(store, "a") @ x, expected @ x, atol=1e-5)


@pytest.mark.parametrize("hubs", HUBS)
@pytest.mark.parametrize("same", [True, False])
def test_one_mini_batch_of_all_images_gives_the_same_graph(tmp_path, hubs, same):
    image_ptr = np.arange(0, 41, 8)
    query, key = vectors(40, 5, 3, hub=True), None if same else vectors(40, 5, 4, hub=True)
    selection = Selection(2, 3, 0.05, 3.0, hubs, 1.0)
    store = build(tmp_path, query, key, image_ptr, selection, 16)
    batch = build_affinity(query, key, torch.from_numpy(image_ptr), selection)
    dense = np.zeros((40, 40))
    dense[np.repeat(np.arange(40), np.diff(batch.indptr)), batch.indices] = batch.values
    np.testing.assert_array_equal(dense_of(store, "blocks/a", 40), dense)
    np.testing.assert_array_equal(store.read_degrees("a"), batch.degree)
    blocks = [store.read(name) for name in store.names("blocks/a")]
    np.testing.assert_array_equal(np.concatenate([block.in_degree for block in blocks]), batch.in_degree)
    assert sum(block.facts["short_rows"] for block in blocks) == batch.short_rows


@pytest.mark.parametrize("hubs", HUBS)
def test_block_size_and_interruption_change_no_bit(tmp_path, hubs):
    image_ptr = np.r_[0, np.cumsum([4, 6, 5, 5, 4, 6])]
    query, key = vectors(30, 4, 5, hub=True), vectors(30, 4, 6, hub=True)
    selection = Selection(2, 2, 0.0, 8.0, hubs, 1.0)
    whole = build(tmp_path / "whole", query, key, image_ptr, selection, 10_000)
    expected = dense_of(whole, "blocks/a", 30)
    assert len(whole.names("blocks/a")) == 1
    cut = build(tmp_path / "cut", query, key, image_ptr, selection, 7)
    np.testing.assert_array_equal(dense_of(cut, "blocks/a", 30), expected)
    np.testing.assert_array_equal(cut.read_degrees("a"), whole.read_degrees("a"))
    store = None
    for _ in range(10):
        store = build(tmp_path / "broken", query, key, image_ptr, selection, 7, stop_after=1, store=store)
    assert len(store.names("blocks/a")) == 6
    np.testing.assert_array_equal(dense_of(store, "blocks/a", 30), expected)


@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
def test_merged_operator_equals_the_dense_mean_over_layers(tmp_path, normalisation):
    image_ptr = np.arange(0, 43, 7)
    selection = Selection(2, 2, 0.1, 2.0)
    store, dense = None, np.zeros((42, 42))
    for index, layer in enumerate(("a", "b")):
        query = vectors(42, 5, index)
        query[3] = -query[3]
        store = build(tmp_path, query, None, image_ptr, selection, 14, layer, store=store)
        a, _, _ = dense_affinity(query, None, [7] * 6, selection)
        degree = a.sum(axis=1)
        inverse = np.divide(1, degree, out=np.zeros(42), where=degree > 0)
        if normalisation == "symmetric":
            dense += np.sqrt(inverse)[:, None] * a * np.sqrt(inverse) / 2
        else:
            dense += (inverse[:, None] * a + a * inverse) / 4
    degrees = [store.read_degrees(layer) for layer in ("a", "b")]
    for name in store.names("blocks/a"):
        index = name.rsplit("/", 1)[1]
        blocks = [store.read(f"blocks/{layer}/{index}") for layer in ("a", "b")]
        store.write(f"merged/{normalisation}/{index}", merge_layers(blocks, normalisation, degrees))
    found = dense_of(store, f"merged/{normalisation}", 42)
    np.testing.assert_allclose(found, dense, atol=1e-6)
    np.testing.assert_array_equal(found, found.T)
    for kept in (0, 1 << 20):
        operator = BlockOperator(store, store.names(f"merged/{normalisation}"), 42, 1, kept_bytes=kept)
        x = np.random.default_rng(0).standard_normal((42, 4)).astype(np.float32)
        np.testing.assert_allclose(operator @ x, dense @ x, atol=1e-5)


def test_columns_far_fewer_than_nodes_are_gathered_with_the_same_result(tmp_path):
    image_ptr = np.arange(0, 401, 4)
    query = vectors(400, 8, 0)
    store = build(tmp_path, query, None, image_ptr, Selection(1, 1), 20)
    assert max(len(store.read(name).columns) for name in store.names("blocks/a")) < 150
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    dense = dense_of(store, "blocks/a", 400)
    np.testing.assert_allclose(affinity_operator(store, "a") @ x, dense @ x, atol=1e-5)


def test_single_image_has_no_neighbours_outside(tmp_path):
    query = vectors(9, 4, 0)
    store = build(tmp_path, query, None, np.array([0, 9]), Selection(3, 5, 0.0), 100)
    expected, _, _ = dense_affinity(query, None, [9], Selection(3, 0, 0.0))
    np.testing.assert_allclose(dense_of(store, "blocks/a", 9), expected, atol=2e-6)
    assert store.read("blocks/a/000000").facts["short_rows"] == sum(
        np.count_nonzero(dense_selection(query, None, [9], Selection(3, 0)) > 0, axis=1) < 3
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 200))
def test_blocks_cover_all_images_and_keep_their_size(sizes, block_nodes):
    image_ptr = np.r_[0, np.cumsum(sizes)]
    bounds = plan_blocks(image_ptr, block_nodes)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    assert (np.diff(bounds) > 0).all()
    nodes, images = np.diff(image_ptr[bounds]), np.diff(bounds)
    assert ((nodes <= block_nodes) | (images == 1)).all()


def test_more_neighbours_than_nodes_are_refused():
    with pytest.raises(GraphError, match=r"c_inter.*9.*8"):
        Selection(2, 9).require_room(np.array([4, 4, 4]))
    with pytest.raises(GraphError, match=r"c_intra.*4.*4"):
        Selection(4, 1).require_room(np.array([4, 4, 4]))
