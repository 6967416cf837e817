"""Each node's best neighbours in the other images of a whole data set, exact or approximate, with bounded memory.

lists = find_neighbours(
    StoreRows(store, "blocks.10", "v", slots),  # or ArrayRows(array), for an ndarray, a memory map, a Zarr array
    None,                                       # keys, where they are not the queries (Q-K)
    image_ptr,                                  # (images + 1,) int64: image i owns the rows ptr[i] to ptr[i + 1]
    10,                                         # neighbours of a node, all in images other than its own
    method="cells",                             # or "exact", "faiss-ivf", "faiss-hnsw", "faiss-gpu"
    recall=0.95,                                # what an approximate search is to reach; measured on a sample
    threshold=0.1,                              # smaller cosines are dropped, and all that are not positive
    query_mean=mean,                            # (d,) float32, subtracted before normalising; None for none
    key_mean=None,                              # the same for keys, where there are keys
    work=folder,                                # scratch and result; a search that was interrupted goes on in it
    seed=0,
    on_progress=None,                           # called as on_progress(done, total)
)
lists.columns       (N, count) int32, memory-mapped: nodes, -1 on the free places at the end of a row
lists.values        (N, count) float32, memory-mapped: cosines, descending, equal ones by ascending column; 0 if free
lists.facts         recall, recall_error, recall_queries, recall_asked, zero_rows, short_rows, seconds, ... (JSON)
falls_short(facts)  whether the recall is below the one asked for
lists.csr(a, b)     the rows a to b as (indptr int64, indices int32 ascending in each row, values float32)
open_lists(folder)  the finished result of an earlier search
"""

from __future__ import annotations

from spectral_graph.graph.neighbours.find import METHODS, Method, find_neighbours
from spectral_graph.graph.neighbours.lists import NeighbourLists, is_complete, open_lists
from spectral_graph.graph.neighbours.recall import falls_short, shortfall
from spectral_graph.graph.neighbours.rows import ArrayRows, Rows, StoreRows

__all__ = [
    "METHODS",
    "ArrayRows",
    "Method",
    "NeighbourLists",
    "Rows",
    "StoreRows",
    "falls_short",
    "find_neighbours",
    "is_complete",
    "open_lists",
    "shortfall",
]
