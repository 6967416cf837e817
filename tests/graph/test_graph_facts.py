import networkx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix

from spectral_graph.graph.blocks import Block
from spectral_graph.graph.facts import GraphFacts


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 25), st.integers(1, 4), st.integers(0, 1000))
def test_components_and_isolated_nodes_equal_networkx(nodes, blocks, seed):
    generator = np.random.default_rng(seed)
    facts, union = GraphFacts(nodes), networkx.Graph()
    union.add_nodes_from(range(nodes))
    edges = 0
    for _ in range(blocks):
        rows = np.sort(generator.choice(nodes, generator.integers(2, nodes + 1), replace=False))
        a = generator.integers(0, len(rows), (generator.integers(0, len(rows)), 2))
        a = a[a[:, 0] != a[:, 1]]
        matrix = coo_matrix((np.ones(len(a)), (a[:, 0], a[:, 1])), shape=(len(rows),) * 2).tocsr()
        matrix = (matrix + matrix.T).tocsr()
        union.add_edges_from(rows[a].tolist())
        edges += matrix.nnz
        values = matrix.data.astype(np.float32)
        note = {"short_rows": 1, "largest_in_degree": 4}
        facts.add(Block(rows, matrix.indptr.astype(np.int64), matrix.indices, values, None, note))
    found = facts.summary()
    assert found["components"] == networkx.number_connected_components(union)
    assert found["isolated_nodes"] == len(list(networkx.isolates(union)))
    assert found["stored_edges"] == edges
    assert found["rows_with_fewer_neighbours"] == blocks
    assert found["largest_in_degree"] == 4
