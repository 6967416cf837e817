"""Facts about a graph, gathered block by block: edges, isolated nodes, hubs, connected components."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from spectral_graph.graph.blocks import Block


class GraphFacts:
    """Gathers facts over the blocks of one layer, or of all layers.

    Args:
        nodes: number of nodes of the whole graph.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.weight = 0.0
        self.edges = self.short_rows = self.largest_in_degree = self.blocks = self.rows = 0
        self._component = np.arange(nodes)
        self._touched = np.zeros(nodes, bool)

    def add(self, block: Block) -> None:
        """Count one block."""
        self.blocks += 1
        self.edges += len(block.values)
        self.weight += float(block.values.sum(dtype=np.float64))
        self.rows += len(block.rows)
        self.short_rows += int(block.facts["short_rows"])
        self.largest_in_degree = max(self.largest_in_degree, int(block.facts["largest_in_degree"]))
        self._touched[block.rows[np.diff(block.indptr) > 0]] = True
        self._join(block)

    def _join(self, block: Block) -> None:
        n = len(block.rows)
        graph = csr_matrix((np.ones(len(block.values), bool), block.indices, block.indptr), shape=(n, n))
        count, inner = connected_components(graph, directed=False)
        # Old components and the block's components are the two sides of a bipartite graph; nodes are its edges.
        labels, old = np.unique(self._component[block.rows], return_inverse=True)
        side = len(labels)
        pairs = coo_matrix((np.ones(n, bool), (old, side + inner)), shape=(side + count,) * 2)
        _, joined = connected_components(pairs, directed=False)
        lowest = np.full(joined.max() + 1, self.nodes)
        np.minimum.at(lowest, joined[:side], labels)
        lookup = np.arange(self.nodes)
        lookup[labels] = lowest[joined[:side]]
        self._component = lookup[self._component]

    def summary(self) -> dict[str, Any]:
        """Return the facts as plain numbers.

        stored_edges counts entries of the symmetric matrices (each undirected edge twice); isolated nodes have no
        edge in any block; mean_degree is the mean row sum over the blocks; each isolated node is a component.
        """
        return {
            "nodes": self.nodes,
            "blocks": self.blocks,
            "stored_edges": self.edges,
            "mean_degree": self.weight / self.rows if self.rows else 0.0,
            "isolated_nodes": int(self.nodes - self._touched.sum()),
            "rows_with_fewer_neighbours": self.short_rows,
            "largest_in_degree": self.largest_in_degree,
            "components": len(np.unique(self._component)),
        }
