"""Facts about a graph, counted block by block: edges, isolated nodes, hubs, connected components.

A new fact is a field of `GraphFacts` and an entry of `FactCounter.summary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import AfterValidator, Field, TypeAdapter
from scipy.sparse import coo_matrix, csr_array
from typing_extensions import TypedDict

from spectral_graph.graph.blocks import Block
from spectral_graph.grid_map import map_of_nodes
from spectral_graph.io.inside import shown

QUANTILES = (0.5, 0.9, 0.99)
RECALL_FACTS = ("recall", "recall_asked", "recall_error", "recall_queries")
"""Facts about the recall of a search; error and queries exist only if it was measured."""


def _share(text: str) -> str:
    if not 0 <= float(text) <= 1:
        raise ValueError(f"{shown(text)} is no share of the nodes, 0 to 1")
    return text


class GraphFacts(TypedDict):
    """Facts about the graph of one layer, or of all layers; graphs of earlier versions have fewer.

    The order of the fields is that of the table of `spectral-graph info`, which shows those with a description. The
    in-degrees are those of the selection, before it is made symmetric, one for each row of each block.
    """

    nodes: int
    blocks: Annotated[int, Field(description="blocks")]
    stored_edges: Annotated[int, Field(description="stored edges")]
    """Entries of the symmetric matrices: each undirected edge counts twice."""
    mean_degree: float
    """Mean row sum over the blocks."""
    isolated_nodes: Annotated[int, Field(description="isolated nodes")]
    """Nodes without an edge in any block."""
    rows_with_fewer_neighbours: Annotated[int, Field(description="nodes short of neighbours")]
    largest_in_degree: int
    components: Annotated[int, Field(description="components")]
    """Connected components; each isolated node is one."""
    largest_component: NotRequired[Annotated[int, Field(description="largest component")]]
    in_degree_quantiles: NotRequired[dict[Annotated[str, AfterValidator(_share)], int]]
    """For each share of the rows, the least in-degree that at least this share does not exceed."""
    share_with_fewer_neighbours: NotRequired[float]
    recall: NotRequired[Annotated[float, Field(description="recall")]]
    """Recall of the neighbour search; the lowest of several layers."""
    recall_asked: NotRequired[Annotated[float, Field(description="recall asked")]]
    recall_error: NotRequired[float]
    """Standard error of the recall."""
    recall_queries: NotRequired[int]
    """Number of queries that the recall was measured on."""


def fact_labels() -> dict[str, str]:
    """Return the labels of the facts that tables show, by their names, in the order of the columns."""
    fields = TypeAdapter(GraphFacts).json_schema()["properties"]
    return {name: field["description"] for name, field in fields.items() if "description" in field}


class FactCounter:
    """Counts the facts over the blocks of one layer; `include` joins those of several layers.

    Memory: two numbers a node, and one block.

    Args:
        nodes: number of nodes of the whole graph.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.weight = 0.0
        self.edges = self.short_rows = self.blocks = self.rows = 0
        self.recall: dict[str, Any] = {"recall": 1.0}
        self._chosen = np.zeros(1, np.int64)
        self._component = np.arange(nodes)
        self._touched = np.zeros(nodes, bool)

    def add(self, block: Block) -> None:
        """Count one block."""
        assert block.in_degree is not None
        self.blocks += 1
        self.edges += len(block.values)
        self.weight += float(block.values.sum(dtype=np.float64))
        self.rows += len(block.rows)
        self.short_rows += int(block.facts["short_rows"])
        self._lower_recall(block.facts)
        self._chosen = _sum(self._chosen, np.bincount(block.in_degree, minlength=1))
        self._touched[block.rows[np.diff(block.indptr) > 0]] = True
        self._join_block(block)

    def include(self, other: FactCounter, g: csr_array | None = None) -> None:
        """Count all blocks that `other` has counted.

        Args:
            other: facts over the same nodes, or over those of a layer on a coarser grid.
            g: (nodes of the layer, nodes of the run) of one image, where `other` is about such a layer. A node of the
                run then has the edges of the layer's nodes that g takes it to.
        """
        self.blocks += other.blocks
        self.edges += other.edges
        self.weight += other.weight
        self.rows += other.rows
        self.short_rows += other.short_rows
        self._lower_recall(other.recall)
        self._chosen = _sum(self._chosen, other._chosen)
        if g is None:
            self._touched |= other._touched
            self._join(np.arange(self.nodes), other._component)
            return
        reach = map_of_nodes(g, np.arange(other.nodes))
        first = reach.indices[reach.indptr[:-1]]  # the first of the run's nodes that are taken to each layer's node
        self._join(first, first[other._component])
        kept = np.repeat(other._touched, np.diff(reach.indptr))
        self._touched[reach.indices[kept]] = True
        self._join(np.repeat(first, np.diff(reach.indptr))[kept], reach.indices[kept])

    def _lower_recall(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts of the lowest recall."""
        if (facts["recall"], "recall_asked" not in facts) < (self.recall["recall"], "recall_asked" not in self.recall):
            self.recall = {name: facts[name] for name in RECALL_FACTS if name in facts}

    def _join_block(self, block: Block) -> None:
        columns, counts, starts = block.column_ids, np.diff(block.indptr), block.indptr[:-1]
        # The first two edges of each row join nearly everything, so few of the other edges remain to be checked.
        for place in (0, 1):
            has = counts > place
            self._join(block.rows[has], columns[block.indices[starts[has] + place]])
        left = np.repeat(self._component[block.rows], counts)
        right = self._component[columns][block.indices]
        apart = left != right
        self._join(left[apart], right[apart])

    def _join(self, a: np.ndarray, b: np.ndarray) -> None:
        """Make one component of those of the nodes a[k] and b[k], for each k; its name is its lowest node."""
        ends = self._component[a], self._component[b]
        apart = ends[0] != ends[1]
        if not apart.any():
            return
        from scipy.sparse.csgraph import connected_components  # here: `info` needs the schema only

        labels, place = np.unique(np.concatenate([end[apart] for end in ends]), return_inverse=True)
        left, right = np.split(place, 2)
        edges = coo_matrix((np.ones(len(left), bool), (left, right)), shape=(len(labels),) * 2)
        _, joined = connected_components(edges, directed=False)
        lowest = np.full(joined.max() + 1, self.nodes)
        np.minimum.at(lowest, joined, labels)
        lookup = np.arange(self.nodes)
        lookup[labels] = lowest[joined]
        self._component = lookup[self._component]

    @property
    def isolated(self) -> np.ndarray:
        """The nodes without an edge in any block, ascending, (nodes,) int64."""
        return np.flatnonzero(~self._touched)

    @property
    def components(self) -> int:
        """The number of connected components; each isolated node is one."""
        return len(np.unique(self._component))

    def summary(self) -> GraphFacts:
        """Return the facts as plain numbers."""
        sizes = np.bincount(self._component, minlength=1)
        below = np.cumsum(self._chosen)
        quantiles = {str(q): int(np.searchsorted(below, q * below[-1])) for q in QUANTILES}
        return {
            "nodes": self.nodes,
            "blocks": self.blocks,
            "stored_edges": self.edges,
            "mean_degree": self.weight / self.rows if self.rows else 0.0,
            "isolated_nodes": len(self.isolated),
            "rows_with_fewer_neighbours": self.short_rows,
            "share_with_fewer_neighbours": self.short_rows / self.rows if self.rows else 0.0,
            "in_degree_quantiles": quantiles,
            "largest_in_degree": len(self._chosen) - 1,
            "components": self.components,
            "largest_component": int(sizes.max()),
            **self.recall,  # type: ignore[typeddict-item]
        }


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sum of two histograms, as long as the longer one."""
    total = np.zeros(max(len(a), len(b)), np.int64)
    total[: len(a)] += a
    total[: len(b)] += b
    return total
