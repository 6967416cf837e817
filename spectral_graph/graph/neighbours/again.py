"""Nodes that are searched again: an approximate search found them fewer neighbours than they have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from spectral_graph.graph.neighbours.job import Job
from spectral_graph.graph.neighbours.lists import NeighbourLists
from spectral_graph.graph.neighbours.recall import TIE, Truth
from spectral_graph.graph.neighbours.scan import Scan
from spectral_graph.graph.neighbours.table import unit_rows_of

SCANNED_ROWS = 4096
"""Queries compared with all keys at a time."""
MOST_SCANNED = 1 << 15
"""Queries compared with all keys at most: each costs as much as some hundred searched ones."""
READ_LISTS = 1 << 20


def search_again(job: Job, lists: NeighbourLists, truth: Truth, lacking: Sequence[int] | np.ndarray = ()) -> int:
    """Compare with all keys the nodes that certainly or probably lack neighbours, and store what they find.

    A node has fewer than `count` neighbours where too few cosines exceed the threshold, or because the search missed
    them. Where the sample shows misses, all nodes with fewer neighbours are searched again, the ones with fewest
    first; where it shows none, none. Lists change at the very end, so that an interrupted search goes on before it.

    Args:
        job: the search.
        lists: of all nodes.
        truth: exact neighbours of a sample.
        lacking: nodes that certainly lack neighbours.

    Returns:
        How many nodes were searched again.
    """
    nodes = np.asarray(lacking, np.int64)
    if _misses(truth, lists):
        nodes = np.union1d(nodes, _short(lists))
    nodes = _with_length(job, nodes)
    if len(nodes) > MOST_SCANNED:
        fewest = np.argsort((lists.columns[nodes] >= 0).sum(1), kind="stable")[:MOST_SCANNED]
        nodes = nodes[np.sort(fewest)]
    scans = []
    for start in range(0, len(nodes), SCANNED_ROWS):
        scan = Scan.start(job, nodes[start : start + SCANNED_ROWS], job.count)
        for begin, end in job.groups():
            raw = torch.from_numpy(job.key.rows.read(slice(begin, end)))
            scan.see(begin, unit_rows_of(job, job.key, raw, np.arange(begin, end), torch.zeros(raw.shape[1], 0))[0])
        scans.append((scan.columns.numpy(), scan.values.masked_fill(scan.columns < 0, 0).numpy()))
    for start, (columns, values) in zip(range(0, len(nodes), SCANNED_ROWS), scans, strict=True):
        lists.columns[nodes[start : start + SCANNED_ROWS]] = columns
        lists.values[nodes[start : start + SCANNED_ROWS]] = values
    return len(nodes)


def _misses(truth: Truth, lists: NeighbourLists) -> bool:
    """Tell whether a query of the sample has fewer neighbours in the lists than it has in truth."""
    found = (lists.columns[truth.scan.nodes] >= 0).sum(1)
    # A cosine within rounding of the bound may be kept or not.
    sure = (truth.scan.values[:, : truth.count].numpy() > max(truth.scan.threshold, 0) + TIE).sum(1)
    return bool((found < sure).any())


def _short(lists: NeighbourLists) -> np.ndarray:
    """Return the nodes with free places in their lists."""
    parts = []
    for begin in range(0, len(lists.columns), READ_LISTS):
        parts.append(begin + np.flatnonzero(lists.columns[begin : begin + READ_LISTS, -1] < 0))
        lists.drop()
    return np.concatenate(parts)


def _with_length(job: Job, nodes: np.ndarray) -> np.ndarray:
    """Return those of the nodes whose rows have length; the others have no neighbours."""
    kept = []
    for start in range(0, len(nodes), SCANNED_ROWS):
        part = nodes[start : start + SCANNED_ROWS]
        raw = torch.from_numpy(job.query.rows.read(part))
        scales = unit_rows_of(job, job.query, raw, part, torch.zeros(raw.shape[1], 0))[1]
        kept.append(part[(scales > 0).numpy()])
    return np.concatenate(kept) if kept else nodes
