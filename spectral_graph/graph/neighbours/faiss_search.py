"""Methods `faiss-ivf`, `faiss-hnsw`, `faiss-gpu` (an inverted file on GPUs): the indexes of FAISS, keys in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from spectral_graph.errors import ConfigError
from spectral_graph.graph.neighbours.cells import import_faiss, kmeans
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists
from spectral_graph.graph.neighbours.problem import SearchProblem, distinct, unit_sample
from spectral_graph.graph.neighbours.recall import Truth
from spectral_graph.graph.neighbours.scan import search_again

ROWS_PER_LIST = 40
GPU_MOST = 2048
"""Neighbours of a query that FAISS's GPU indexes can return."""
LINKS, BUILD_EFFORT = 32, 64
"""Of the HNSW graph."""
WIDER = 4
"""Factor of the effort for a query that found fewer keys than it may have neighbours."""

Searcher = Callable[[np.ndarray, tuple[int, int], int], tuple[np.ndarray, np.ndarray]]
"""From unit queries of one image, the nodes of that image and the effort to values and nodes, best first."""


def search_faiss(problem: SearchProblem, method: str) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search with the least effort of 1, 2, 4, ... that reaches the recall on a sample.

    The graph of `faiss-hnsw` depends on the number of threads, since FAISS inserts concurrently.

    Returns:
        The lists and the facts.

    Raises:
        ConfigError: FAISS is missing, or `faiss-gpu` finds no GPU.
    """
    start = time.perf_counter()
    faiss = import_faiss()
    if method == "faiss-gpu" and getattr(faiss, "get_num_gpus", int)() == 0:
        raise ConfigError("faiss-gpu needs a GPU, but this FAISS finds none; choose `neighbours=cells`")
    truth = Truth.start(problem)
    unit = np.empty(problem.key.rows.shape, np.float32)
    for rows in problem.groups():
        part = problem.key.unit(rows)[0]
        truth.scan.see(rows.start, part)
        unit[rows] = part.numpy()
    search, most = (
        _hnsw(faiss, problem, unit) if method == "faiss-hnsw" else _ivf(faiss, problem, unit, method == "faiss-gpu")
    )
    built = time.perf_counter()
    effort, tuning = 1, truth.tuning
    while effort < most and not _reaches(problem, tuning, search, effort):
        effort = min(most, effort * 2)
    chosen = time.perf_counter()

    lists = new_lists(problem.folder, problem.nodes, problem.count)
    there, wider, few = np.zeros(problem.nodes, bool), 0, []
    sizes = np.diff(problem.image_ptr)
    for image in range(len(problem.image_ptr) - 1):
        begin, end = int(problem.image_ptr[image]), int(problem.image_ptr[image + 1])
        problem.report(begin, problem.nodes)
        if begin == end:
            continue
        queries = unit[begin:end] if problem.symmetric else problem.query.unit(slice(begin, end))[0].numpy()
        there[begin:end] = queries.any(axis=1)
        values, columns = search(queries, (begin, end), effort)
        wanted = min(problem.count, problem.nodes - int(sizes[image]))
        lacking = np.flatnonzero(there[begin:end] & ((columns >= 0).sum(1) < wanted))
        if len(lacking) and WIDER * effort <= most:
            wider += len(lacking)
            values[lacking], columns[lacking] = search(queries[lacking], (begin, end), WIDER * effort)
            lacking = lacking[(columns[lacking] >= 0).sum(1) < wanted]
        few.append(begin + lacking)
        columns, values = _tidy(problem, values, columns)
        lists.columns[begin:end] = columns
        lists.values[begin:end] = values
    again = search_again(problem, lists, there, np.concatenate(few))
    problem.report(problem.nodes, problem.nodes)
    return lists, {
        **truth.held_out.facts(lists.columns, lists.values),
        "effort": effort,
        "zero_rows": int((~there).sum()),
        "searched_again": max(wider, again),
        "seconds_building": built - start,
        "seconds_choosing": chosen - built,
        "seconds_searching": time.perf_counter() - chosen,
    }


def _ivf(faiss: Any, problem: SearchProblem, unit: np.ndarray, on_gpus: bool) -> tuple[Searcher, int]:
    number = max(1, min(problem.nodes // ROWS_PER_LIST, round(2 * problem.nodes**0.5)))
    found = unit_sample(problem.key, problem.sample(ROWS_PER_LIST * number, problem.seed))
    sample = found[distinct(found)].numpy()
    if len(sample) == 0:
        sample = np.zeros((1, unit.shape[1]), np.float32)
    centroids = kmeans(sample, min(number, len(sample)), problem.seed)
    coarse = faiss.IndexFlatIP(unit.shape[1])
    coarse.add(centroids)
    index: Any = faiss.IndexIVFFlat(coarse, unit.shape[1], len(centroids), faiss.METRIC_INNER_PRODUCT)
    index.train(sample)
    index.add(unit)
    if on_gpus:
        index = faiss.index_cpu_to_all_gpus(index)
        most = min(GPU_MOST, problem.nodes, problem.count + int(np.diff(problem.image_ptr).max()))

        def on_gpu(queries: np.ndarray, own: tuple[int, int], effort: int) -> tuple[np.ndarray, np.ndarray]:
            # No selector there: enough neighbours that those of the own image can be left out.
            values, columns = index.search(queries, most, params=faiss.SearchParametersIVF(nprobe=effort))
            return values, np.where((columns >= own[0]) & (columns < own[1]), -1, columns)

        return on_gpu, len(centroids)

    def search(queries: np.ndarray, own: tuple[int, int], effort: int) -> tuple[np.ndarray, np.ndarray]:
        others = faiss.IDSelectorNot(faiss.IDSelectorRange(*own))
        found: tuple[np.ndarray, np.ndarray] = index.search(
            queries, problem.count, params=faiss.SearchParametersIVF(nprobe=effort, sel=others)
        )
        return found

    return search, len(centroids)


def _hnsw(faiss: Any, problem: SearchProblem, unit: np.ndarray) -> tuple[Searcher, int]:
    index = faiss.IndexHNSWFlat(unit.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.add(unit)

    def search(queries: np.ndarray, own: tuple[int, int], effort: int) -> tuple[np.ndarray, np.ndarray]:
        others = faiss.IDSelectorNot(faiss.IDSelectorRange(*own))
        found: tuple[np.ndarray, np.ndarray] = index.search(
            queries, problem.count, params=faiss.SearchParametersHNSW(efSearch=max(effort, problem.count), sel=others)
        )
        return found

    return search, problem.nodes


def _reaches(problem: SearchProblem, truth: Truth, search: Searcher, effort: int) -> bool:
    scan = truth.scan
    image = scan.image.numpy()
    columns = np.full((len(image), problem.count), -1, np.int32)
    values = np.zeros((len(image), problem.count), np.float32)
    for each in np.unique(image):
        which = np.flatnonzero(image == each)
        own = int(problem.image_ptr[each]), int(problem.image_ptr[each + 1])
        columns[which], values[which] = _tidy(problem, *search(scan.unit.numpy()[which], own, effort))
    return truth.lower_recall(truth.hits(columns, values)) >= problem.recall


def _tidy(problem: SearchProblem, values: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and values (n, count) in the order of the lists, without free places and small cosines."""
    keep = problem.kept(torch.from_numpy(columns), torch.from_numpy(values)).numpy()
    order = np.lexsort((columns, -np.where(keep, values, -np.inf)), axis=1)[:, : problem.count]
    kept = np.take_along_axis(keep, order, 1)
    columns = np.where(kept, np.take_along_axis(columns, order, 1), -1)
    values = np.where(kept, np.take_along_axis(values, order, 1), 0)
    short = problem.count - columns.shape[1]
    if short > 0:
        columns = np.pad(columns, ((0, 0), (0, short)), constant_values=-1)
        values = np.pad(values, ((0, 0), (0, short)))
    return columns.astype(np.int32), values.astype(np.float32)
