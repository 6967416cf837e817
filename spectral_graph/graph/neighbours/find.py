"""find_neighbours: one interface to all methods."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from spectral_graph.errors import ConfigError
from spectral_graph.graph.neighbours.cell_search import search_cells
from spectral_graph.graph.neighbours.exact import MERGED, search_exact
from spectral_graph.graph.neighbours.faiss_search import search_faiss
from spectral_graph.graph.neighbours.lists import NeighbourLists, publish
from spectral_graph.graph.neighbours.problem import make_problem
from spectral_graph.graph.neighbours.progress import Checkpoint
from spectral_graph.graph.neighbours.rows import Rows, hold

Method = Literal["cells", "exact", "faiss-ivf", "faiss-hnsw", "faiss-gpu"]
METHODS: tuple[Method, ...] = get_args(Method)
HELD_BYTES = 128 << 20
"""Features up to this size are read once and held; larger ones are read again for every pass."""
FORMAT = 2
"""Of the files of a search: one that another format left is not gone on with."""


def find_neighbours(
    query: Rows,
    key: Rows | None,
    image_ptr: np.ndarray,
    count: int,
    *,
    method: Method = "cells",
    recall: float = 0.95,
    threshold: float = 0.0,
    query_mean: np.ndarray | None = None,
    key_mean: np.ndarray | None = None,
    work: str | Path,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> NeighbourLists:
    """Return each node's `count` best neighbours by cosine in all images but its own.

    Kept are cosines > 0 and >= threshold; of equal ones the lower node is better. Rows without length (after centring)
    get no neighbours, are nobody's, and are counted. A search that was interrupted goes on where it was if it is called
    again with the same arguments and folder. With one seed the result is the same whatever the number of threads and
    however often it was interrupted, except for `faiss-hnsw`.

    Args:
        query: (N, d) rows as they are stored.
        key: the rows that are found, node by node those of `query`; None where they are the queries.
        image_ptr: (images + 1,) int64; image i owns the nodes image_ptr[i] to image_ptr[i + 1].
        count: the most neighbours of a node.
        method: `exact` compares all pairs; `cells` each node with the nodes of the nearest cells, out of core;
            `faiss-ivf`, `faiss-hnsw` and `faiss-gpu` (an inverted file on GPUs) hold all keys in memory.
        recall: the part of the exact neighbours that an approximate method is to find, in (0, 1); it tries as hard as a
            sample of queries needs for it.
        threshold: least cosine that is kept.
        query_mean: (d,) float32, subtracted before normalising; None for none.
        key_mean: the same for keys; not read without `key`.
        work: folder for scratch files, which are removed at the end, and for the result.
        seed: of the samples and of k-means.
        on_progress: called with what is done and what there is to do.

    Returns:
        The lists. Their facts hold recall (1 for `exact`, else measured on queries that had no part in the choice of
        the effort) with its standard error recall_error and the number of these queries, recall_queries; recall_asked;
        method; zero_rows; short_rows (nodes with fewer than `count` neighbours); searched_again (nodes that had too few
        at first); seconds, and figures of the method. `spectral_graph.graph.neighbours.falls_short` compares the recall
        with the one asked for.

    Raises:
        ConfigError: an unknown method, or FAISS, or a GPU for `faiss-gpu`, is missing.
        FeatureError: NaN or infinity in a row, or shapes do not fit.
        FormatError: a stored chunk is damaged.
        GraphError: counts or bounds do not fit.
        DiskFullError: the scratch files do not fit.
    """
    if method not in METHODS:
        raise ConfigError(f"there is no neighbour search {method!r}; choose one of {', '.join(METHODS)}")
    start, work = time.perf_counter(), Path(work)
    work.mkdir(parents=True, exist_ok=True)
    held = hold(query, HELD_BYTES)
    problem = make_problem(
        held,
        None if key is None else hold(key, HELD_BYTES),
        image_ptr,
        count,
        recall,
        threshold,
        (query_mean, key_mean),
        work,
        seed,
        on_progress,
    )
    checkpoint = Checkpoint(
        work / "state.json",
        {
            "format": FORMAT,
            "method": method,
            "shape": list(query.shape),
            "images": len(image_ptr) - 1,
            "symmetric": key is None,
            "count": count,
            "recall": recall,
            "threshold": threshold,
            "seed": seed,
        },
    )
    found: dict[str, Any]
    if method == "cells":
        lists, found = search_cells(problem, checkpoint)
    elif method == "exact":
        lists, found = search_exact(problem, checkpoint)
    else:
        lists, found = search_faiss(problem, method)
    short = sum(
        int((lists.columns[begin : begin + (1 << 20), -1] < 0).sum()) for begin in range(0, problem.nodes, 1 << 20)
    )
    facts = {"method": method, "recall_asked": recall, **found, "short_rows": short}
    facts["seconds"] = time.perf_counter() - start
    lists = publish(work, lists, facts)
    checkpoint.remove()
    (work / MERGED).unlink(missing_ok=True)
    shutil.rmtree(work / "tables", ignore_errors=True)
    return lists
