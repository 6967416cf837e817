from itertools import pairwise

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse import random as sparse_random

from spectral_graph.graph.blocks import Block, local_columns
from spectral_graph.graph.facts import FactCounter
from spectral_graph.grid_map import grid_map


def symmetric(n, edges):
    matrix = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n)).tocsr()
    return (matrix + matrix.T).tocsr()


def random_edges(generator, n):
    a = generator.integers(0, n, (generator.integers(0, n), 2))
    return a[a[:, 0] != a[:, 1]]


def block(rows, matrix, in_degree, columns=None, **facts):
    values = matrix.data.astype(np.float32)
    facts = {"short_rows": 1, "recall": 1.0, **facts}
    return Block(rows, matrix.indptr.astype(np.int64), matrix.indices, values, None, facts, columns, in_degree)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.sampled_from([((4, 4), (2, 2)), ((6, 4), (3, 3)), ((3, 5), (1, 2))]), st.integers(0, 1000))
@pytest.mark.parametrize("mode", ["bilinear", "area"])
def test_a_coarse_layer_joins_the_nodes_that_g_takes_to_it(mode, images, grids, seed):
    generator = np.random.default_rng(seed)
    g = grid_map(*grids, mode)
    coarse, nodes = g.shape[0], images * g.shape[1]
    edges = generator.integers(0, images * coarse, (generator.integers(0, 2 * images), 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    matrix = symmetric(images * coarse, edges)
    layer, everything, union = FactCounter(images * coarse), FactCounter(nodes), networkx.Graph()
    layer.add(block(np.arange(images * coarse), matrix, np.zeros(images * coarse, np.int32)))
    everything.include(layer, g)
    union.add_nodes_from(range(nodes))
    dense = np.kron(np.eye(images), g.toarray()) > 0
    for a, b in edges:
        reached = np.flatnonzero(dense[a] | dense[b])
        union.add_edges_from(pairwise(reached))
    found = everything.summary()
    assert found["components"] == networkx.number_connected_components(union)
    assert found["isolated_nodes"] == len(list(networkx.isolates(union)))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 25), st.integers(1, 4), st.integers(0, 1000))
def test_components_isolated_nodes_and_in_degrees_of_mini_batches(nodes, blocks, seed):
    generator = np.random.default_rng(seed)
    facts, union = FactCounter(nodes), networkx.Graph()
    union.add_nodes_from(range(nodes))
    edges, chosen = 0, []
    for _ in range(blocks):
        rows = np.sort(generator.choice(nodes, generator.integers(2, nodes + 1), replace=False))
        pairs = random_edges(generator, len(rows))
        matrix = symmetric(len(rows), pairs)
        union.add_edges_from(rows[pairs].tolist())
        edges += matrix.nnz
        chosen.append(generator.integers(0, 9, len(rows)).astype(np.int32))
        facts.add(block(rows, matrix, chosen[-1]))
    found, chosen = facts.summary(), np.concatenate(chosen)
    assert found["components"] == networkx.number_connected_components(union)
    assert found["largest_component"] == max(map(len, networkx.connected_components(union)))
    assert found["isolated_nodes"] == len(list(networkx.isolates(union)))
    assert found["stored_edges"] == edges
    assert found["rows_with_fewer_neighbours"] == blocks
    assert found["share_with_fewer_neighbours"] == pytest.approx(blocks / len(chosen))
    assert found["largest_in_degree"] == chosen.max()
    for q in (0.5, 0.9, 0.99):
        assert found["in_degree_quantiles"][str(q)] == np.quantile(chosen, q, method="inverted_cdf")


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(1, 3), st.integers(0, 1000))
def test_ranges_of_rows_of_several_layers_equal_networkx(nodes, per_block, layers, seed):
    generator = np.random.default_rng(seed)
    everything, union = FactCounter(nodes), networkx.Graph()
    union.add_nodes_from(range(nodes))
    for layer in range(layers):
        facts, graph = FactCounter(nodes), networkx.Graph()
        graph.add_nodes_from(range(nodes))
        pairs = random_edges(generator, nodes)
        matrix = symmetric(nodes, pairs)
        for each in (graph, union):
            each.add_edges_from(pairs.tolist())
        for start in range(0, nodes, per_block):
            part = matrix[start : start + per_block]
            columns, part.indices = local_columns(part.indices, nodes)
            rows = np.arange(start, min(start + per_block, nodes))
            facts.add(block(rows, part, np.ones(len(rows), np.int32), columns, recall=1 - layer / 10))
        found = facts.summary()
        assert found["components"] == networkx.number_connected_components(graph)
        assert found["isolated_nodes"] == len(list(networkx.isolates(graph)))
        everything.include(facts)
    found = everything.summary()
    assert found["components"] == networkx.number_connected_components(union)
    assert found["isolated_nodes"] == len(list(networkx.isolates(union)))
    assert found["recall"] == pytest.approx(1 - (layers - 1) / 10)
    assert found["stored_edges"] <= layers * 2 * nodes


def test_local_columns_are_those_that_occur():
    indices = sparse_random(5, 50, 0.1, random_state=0, format="csr").indices
    columns, places = local_columns(indices, 50)
    np.testing.assert_array_equal(columns, np.unique(indices))
    np.testing.assert_array_equal(columns[places], indices)
    assert places.dtype == np.int32
