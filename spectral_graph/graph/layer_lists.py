"""The neighbour lists of one layer of scope `dataset`: inside images exactly, in other images by a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.affinity import nearest
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.dataset_scope import InterLists
from spectral_graph.graph.facts import RECALL_FACTS
from spectral_graph.graph.neighbours import Method, find_neighbours, is_complete, open_lists
from spectral_graph.graph.selection import Selection
from spectral_graph.node_rows import NodeRows

SEARCH_FACTS = (*RECALL_FACTS, "cells", "probed", "zero_rows", "searched_again")


@dataclass(frozen=True)
class LayerLists:
    """The rows that are compared in one layer, and how neighbours are selected.

    Attributes:
        query: the queries.
        key: the keys, for the same nodes; None where they are the queries.
        means: (d,) float32, subtracted from queries and keys before normalising; None for none.
        image_ptr: (images + 1,) int64; image i owns the nodes image_ptr[i] to image_ptr[i + 1].
        selection: which affinities become edges.
    """

    query: NodeRows
    key: NodeRows | None
    means: tuple[np.ndarray | None, np.ndarray | None]
    image_ptr: np.ndarray
    selection: Selection

    def inside(self, start: int, stop: int) -> CsrRows:
        """Return the neighbours inside their image of the nodes of the images start to stop, counted from the first.

        Raises:
            FeatureError: NaN or infinity in the vectors.
        """
        first, last = int(self.image_ptr[start]), int(self.image_ptr[stop])
        count = self.selection.candidates[0]
        if count == 0:
            return CsrRows.empty(last - first)
        nodes = slice(first, last)
        query = torch.from_numpy(self.query.read(nodes))
        key = None if self.key is None else torch.from_numpy(self.key.read(nodes))
        means = [None if mean is None else torch.from_numpy(mean) for mean in self.means]
        pointers = torch.from_numpy(self.image_ptr[start : stop + 1] - first)
        return nearest(query, key, pointers, (count, 0), self.selection.threshold, *means)

    def outside(
        self,
        method: Method,
        recall: float,
        work: Path,
        seed: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[InterLists | None, dict[str, Any]]:
        """Return the neighbours in other images, and facts about their search (SEARCH_FACTS, those there are).

        Where no neighbours are wanted, None and a recall of 1.

        Args:
            method: see `find_neighbours`.
            recall: share of the true neighbours that an approximate method has to find.
            work: folder of the search; a finished search there is not repeated.
            seed: of the search.
            on_progress: called with the work done and the total.

        Raises:
            GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
            FeatureError: NaN or infinity in the vectors.
        """
        sizes = np.diff(self.image_ptr)
        self.selection.require_room(sizes)
        count = min(self.selection.candidates[1], int(sizes.sum() - sizes.max()))
        if count == 0:
            return None, {"recall": 1.0}
        if is_complete(work):
            lists = open_lists(work)
        else:
            lists = find_neighbours(
                self.query,
                self.key,
                self.image_ptr,
                count,
                method=method,
                recall=recall,
                threshold=self.selection.threshold,
                query_mean=self.means[0],
                key_mean=None if self.key is None else self.means[1],
                work=work,
                seed=seed,
                on_progress=on_progress,
            )
        # Times are left out, so that equal runs have equal files.
        return lists, {name: lists.facts[name] for name in SEARCH_FACTS if name in lists.facts}
