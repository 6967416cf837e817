"""Nodes that are searched again: an approximate search found them far fewer neighbours than they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from spectral_graph.graph.neighbours.lists import NeighbourLists
from spectral_graph.graph.neighbours.problem import SearchProblem
from spectral_graph.graph.neighbours.scan import Scan
from spectral_graph.graph.neighbours.table import unit_rows_of

TESTED = 32
"""Suspect nodes that are compared with all keys in any case; that takes some hundredths of the time of a search."""
MOST_SCANNED = 4096
"""Nodes that are compared with all keys at most; that takes a few times as long as a search."""
READ_LISTS = 1 << 20


def search_again(
    problem: SearchProblem, lists: NeighbourLists, there: np.ndarray, lacking: Sequence[int] | np.ndarray = ()
) -> int:
    """Compare with all keys the nodes that certainly or probably lost most of their neighbours, and store the result.

    A node with at most half a list is a suspect: few cosines exceed the threshold, or the search missed them. Some
    suspects are tested. If one of them lost half a list, all are searched again, the ones with the fewest neighbours
    first. Lists change at the very end, so that an interrupted search goes on before it.

    Args:
        problem: the search.
        lists: of all nodes.
        there: (nodes,) bool, which nodes have length; the others have no neighbours.
        lacking: nodes that certainly lack neighbours.

    Returns:
        How many nodes were searched again.
    """
    suspects = _suspects(lists, there)
    places = np.linspace(0, len(suspects) - 1, min(TESTED, len(suspects))).astype(np.int64)
    tested = suspects[places]
    scans = [_scan(problem, tested)]
    lost = (scans[0][0] >= 0).sum(1) - (lists.columns[tested] >= 0).sum(1)
    nodes = np.asarray(lacking, np.int64)
    if (lost >= (problem.count + 1) // 2).any():
        nodes = np.union1d(nodes, suspects)
    nodes = np.setdiff1d(nodes, tested)
    if len(nodes) > MOST_SCANNED:
        fewest = np.argsort((lists.columns[nodes] >= 0).sum(1), kind="stable")[:MOST_SCANNED]
        nodes = nodes[np.sort(fewest)]
    scans.append(_scan(problem, nodes))
    for which, (columns, values) in zip((tested, nodes), scans, strict=True):
        lists.columns[which], lists.values[which] = columns, values
    return len(tested) + len(nodes)


def _scan(problem: SearchProblem, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact lists of some nodes, columns and values."""
    scan = Scan.start(problem, nodes, problem.count)
    for begin, end in problem.groups() if len(nodes) else ():
        raw = torch.from_numpy(problem.key.rows.read(slice(begin, end)))
        scan.see(begin, unit_rows_of(problem, problem.key, raw, np.arange(begin, end), torch.zeros(raw.shape[1], 0))[0])
    return scan.columns.numpy(), scan.values.masked_fill(scan.columns < 0, 0).numpy()


def _suspects(lists: NeighbourLists, there: np.ndarray) -> np.ndarray:
    """Return the nodes with length and at most half a list."""
    half, parts = lists.columns.shape[1] // 2, []
    for begin in range(0, len(lists.columns), READ_LISTS):
        few = np.asarray(lists.columns[begin : begin + READ_LISTS, half] < 0)
        parts.append(begin + np.flatnonzero(few & there[begin : begin + READ_LISTS]))
        lists.drop()
    return np.concatenate(parts)
