"""`find_neighbours`, the interface to all methods."""

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
from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.graph.neighbours.scratch import Checkpoint
from spectral_graph.node_rows import NodeRows, held_in_memory

Method = Literal["cells", "exact", "faiss-ivf", "faiss-hnsw", "faiss-gpu"]
METHODS: tuple[Method, ...] = get_args(Method)
HELD_BYTES = 128 << 20
"""Rows up to this size are read once and held; larger ones are read again in every pass."""
FORMAT = 2
"""Of the files of a search; a search of another format is not resumed."""


def find_neighbours(
    query: NodeRows,
    key: NodeRows | None,
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

    Cosines > 0 and >= threshold are kept; of equal ones the lower node is better. Rows that are zero after centring
    have no neighbours, are no neighbours, and are counted. A call with the same arguments and folder resumes an
    interrupted search. For one seed the result depends neither on the number of threads nor on interruptions, except
    for `faiss-hnsw`.

    Args:
        query: (N, d) rows.
        key: (N, d) rows that are found, for the same nodes; None where they are the queries.
        image_ptr: (images + 1,) int64; image i owns the nodes image_ptr[i] to image_ptr[i + 1].
        count: most neighbours of a node.
        method: `exact` compares all pairs; `cells` each node with the nodes of the nearest cells, out of core;
            `faiss-ivf`, `faiss-hnsw` and `faiss-gpu` (an inverted file on GPUs) hold all keys in memory.
        recall: share of the exact neighbours that an approximate method has to find, in (0, 1); its effort is chosen on
            a sample of queries.
        threshold: least cosine that is kept.
        query_mean: (d,) float32, subtracted before normalising; None for none.
        key_mean: the same for keys; not read without `key`.
        work: folder for the result, and for scratch files, which are removed at the end.
        seed: of the samples and of k-means.
        on_progress: called with the work done and the total.

    Returns:
        The lists. Their facts hold recall (1 for `exact`, else measured on queries that had no part in the choice of
        the effort) with its standard error recall_error and the number of these queries, recall_queries; recall_asked;
        method; zero_rows; short_rows (nodes with fewer than `count` neighbours); searched_again (nodes that had too few
        at first); seconds, and numbers of the method. `spectral_graph.graph.neighbours.falls_short` compares the recall
        with the requested one.

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
    ptr = np.ascontiguousarray(image_ptr, np.int64)
    queries = Side("query", held_in_memory(query, HELD_BYTES), query_mean, ptr)
    keys = queries if key is None else Side("key", held_in_memory(key, HELD_BYTES), key_mean, ptr)
    report = on_progress or (lambda done, total: None)
    problem = SearchProblem(queries, keys, ptr, count, recall, threshold, work, seed, report)
    options = {"shape": list(query.shape), "images": len(ptr) - 1, "symmetric": key is None, "count": count}
    options |= {"format": FORMAT, "method": method, "recall": recall, "threshold": threshold, "seed": seed}
    checkpoint = Checkpoint(work / "state.json", options)
    found: dict[str, Any]
    if method == "cells":
        lists, found = search_cells(problem, checkpoint)
    elif method == "exact":
        lists, found = search_exact(problem, checkpoint)
    else:
        lists, found = search_faiss(problem, method)
    step = 1 << 20
    short = sum(int((lists.columns[at : at + step, -1] < 0).sum()) for at in range(0, problem.nodes, step))
    facts = {"method": method, "recall_asked": recall, **found, "short_rows": short}
    facts["seconds"] = time.perf_counter() - start
    lists = publish(work, lists, facts)
    checkpoint.remove()
    (work / MERGED).unlink(missing_ok=True)
    shutil.rmtree(work / "tables", ignore_errors=True)
    return lists
