"""Each node's best neighbours by cosine in the other images of a data set, exact or approximate, with bounded memory.

    lists = find_neighbours(rows, None, image_ptr, 10, method="cells", recall=0.95, work=folder)
    lists.columns, lists.values   (N, 10), memory-mapped, best first; -1 and 0 on free places
    lists.csr(a, b)               the rows a to b as CsrRows
    lists.facts                   recall, its standard error, zero_rows, short_rows, seconds, ...

All pairs of N nodes are N^2 products. Method `cells` computes the products with a few candidates a query only:

                         sample of rows
                              | principal directions, k-means              cells.py
                              v
    rows on disk -----> projection (k of d dimensions), cells in two levels
         | read in order                                                   problem.py: Side.unit
         |----------------------------------------------.
         v                                              v
    table: rows rewritten cell by cell             exact neighbours of a sample of queries
         |                        table.py              |                  scan.py
         |                                              v
         |                                         half of it: choose the effort      probing.py
         v                                              |
    for each query in the order of its cell  <----------'
         probe the nearest cells: the best keys by projection              probing.py
         compare these in all d dimensions, keep the best 10               cell_search.py
         |
         v
    lists on disk ----> queries with too few neighbours: compare with all keys        scan.py
         |
         v
    recall on the other half of the sample, stored with the lists          recall.py, lists.py

A query whose cells hold too few keys of other images probes more cells. All steps are deterministic, so that a search
resumes from its checkpoint (`scratch.py`) with the same result. `problem.py` holds the checked arguments.

`exact.py` compares all pairs, block by block. `faiss_search.py` uses the indexes of FAISS with all keys in memory, and
measures recall and searches again as `cells` does. `find.py` is the interface in front of the methods.
"""

from __future__ import annotations

from spectral_graph.graph.neighbours.find import METHODS, Method, find_neighbours
from spectral_graph.graph.neighbours.lists import NeighbourLists, is_complete, open_lists
from spectral_graph.graph.neighbours.recall import falls_short, shortfall

__all__ = [
    "METHODS",
    "Method",
    "NeighbourLists",
    "falls_short",
    "find_neighbours",
    "is_complete",
    "open_lists",
    "shortfall",
]
