"""The recall of a search: the effort is chosen on one half of a sample of queries, recall is measured on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.scan import Scan

TRUTH_QUERIES = 256
"""Queries whose exact neighbours are computed: comparing them with all keys takes a fifth of the time of a search."""
TIE = 2e-6
"""Cosines that differ by less are equal up to rounding: either neighbour counts as found."""
ERRORS = 2
"""Standard errors by which the recall on the sample must exceed the requested one."""


@dataclass
class Truth:
    """The exact neighbours of a sample of queries.

    Attributes:
        scan: the queries; one place more than neighbours are wanted, so that ties show.
        count: neighbours of a node.
    """

    scan: Scan
    count: int

    @classmethod
    def start(cls, problem: SearchProblem, basis: torch.Tensor | None = None) -> Truth:
        """Draw the queries; see `Scan.start`."""
        nodes = problem.sample(TRUTH_QUERIES, problem.seed + 1)
        return cls(Scan.start(problem, nodes, problem.count + 1, basis), problem.count)

    @property
    def tuning(self) -> Truth:
        """The half on which the effort is chosen."""
        return self._half(0)

    @property
    def held_out(self) -> Truth:
        """The other half, on which the recall is measured. Where the sample holds all nodes, both halves are all."""
        return self._half(1)

    def _half(self, first: int) -> Truth:
        if len(self.scan.nodes) == len(self.scan.images):
            return self
        # The nodes ascend: every other one comes from as many images as there are.
        return Truth(self.scan.part(slice(first, None, 2)), self.count)

    @property
    def columns(self) -> np.ndarray:
        """(n, count) int32, the neighbours, -1 on free places."""
        return self.scan.columns[:, : self.count].numpy()

    @property
    def known(self) -> np.ndarray:
        """(n,) int64, the number of neighbours of each query."""
        found: np.ndarray = (self.columns >= 0).sum(1)
        return found

    @property
    def least(self) -> np.ndarray:
        """(n,) float32, the least cosine with which a key counts as a neighbour of each query."""
        values = self.scan.values[:, : self.count].numpy()
        last = np.maximum(self.known - 1, 0)[:, None]
        return np.take_along_axis(values, last, 1)[:, 0] - np.float32(TIE)

    @property
    def tied(self) -> np.ndarray:
        """(n,) bool, whether other keys than `columns` have the same cosine."""
        return (self.scan.columns[:, -1].numpy() >= 0) & (self.scan.values[:, -1].numpy() >= self.least)

    def hits(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return (n,), the number of true neighbours found for each query.

        Args:
            columns: (n, count) int, what a search found for each query, -1 on free places.
            values: (n, count) float32, the cosines.
        """
        found = ((columns >= 0) & (values >= self.least[:, None])).sum(1)
        return np.minimum(found, self.known)

    def lower_recall(self, hits: np.ndarray) -> float:
        """Return the recall for the hits (n,) of each query, less ERRORS standard errors over the queries."""
        recall, error = _mean(hits, self.known)
        return recall - ERRORS * error

    def facts(self, columns: np.ndarray, values: np.ndarray) -> dict[str, Any]:
        """Return the recall of finished lists, its standard error, and the number of queries that it was measured on.

        Args:
            columns: (N, count) int32, the lists of all nodes.
            values: (N, count) float32.
        """
        nodes = self.scan.nodes
        recall, error = _mean(self.hits(np.asarray(columns[nodes]), np.asarray(values[nodes])), self.known)
        rest = 1 - len(nodes) / len(self.scan.images)
        return {
            "recall": recall,
            "recall_error": error * rest**0.5,
            "recall_queries": int((self.known > 0).sum()),
        }


def _mean(hits: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return the mean share of the neighbours that are hit, and its standard error; 1 and 0 if there are none."""
    queries = known > 0
    if not queries.any():
        return 1.0, 0.0
    rates = hits[queries] / known[queries]
    return float(rates.mean()), float(rates.std() / len(rates) ** 0.5)


def falls_short(facts: Mapping[str, Any]) -> bool:
    """Return whether a search reached less recall than requested.

    Args:
        facts: of a search or of a graph; without `recall_asked` (exact neighbours, older runs) it is False.
    """
    asked = facts.get("recall_asked")
    return asked is not None and bool(facts.get("recall", 1.0) < min(asked, 1.0))


def shortfall(facts: Mapping[str, Any]) -> str:
    """Return a sentence on a recall that falls short, with its cure.

    Args:
        facts: for which `falls_short` is true.
    """
    return (
        f"the search found {facts['recall']:.3f} of the nearest neighbours (recall, measured on "
        f"{facts.get('recall_queries', 0)} nodes, standard error {facts.get('recall_error', 0):.3f}), less than "
        f"the {facts['recall_asked']:g} asked for; `neighbours=exact` finds all, a higher `recall` tries harder"
    )
