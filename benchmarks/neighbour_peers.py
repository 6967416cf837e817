"""The peers of the neighbour search: FAISS's indexes and pynndescent, from unit rows to neighbours in other images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

COUNT = 10
"""Neighbours of a node."""


def by_image(index, unit: np.ndarray, images: np.ndarray, parameters: Callable[[object], object]) -> np.ndarray:
    """Search a FAISS index image by image, the own image excluded."""
    import faiss

    found = np.empty((len(unit), COUNT), np.int64)
    for begin, end in zip(images[:-1].tolist(), images[1:].tolist(), strict=True):
        others = faiss.IDSelectorNot(faiss.IDSelectorRange(begin, end))
        found[begin:end] = index.search(unit[begin:end], COUNT, params=parameters(others))[1]
    return found


def inverted_file(unit: np.ndarray, images: np.ndarray, lists: int, probes: int) -> np.ndarray:
    import faiss

    coarse = faiss.IndexFlatIP(unit.shape[1])
    index = faiss.IndexIVFFlat(coarse, unit.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = 4, 40
    index.train(unit)
    index.add(unit)
    return by_image(index, unit, images, lambda sel: faiss.SearchParametersIVF(nprobe=probes, sel=sel))


def quantised(unit: np.ndarray, images: np.ndarray, lists: int, probes: int, refine: int) -> np.ndarray:
    import faiss

    coarse = faiss.IndexFlatIP(unit.shape[1])
    base = faiss.IndexIVFPQ(coarse, unit.shape[1], lists, unit.shape[1] // 8, 8, faiss.METRIC_INNER_PRODUCT)
    base.cp.niter, base.cp.max_points_per_centroid = 4, 40
    base.pq.cp.niter, base.pq.cp.max_points_per_centroid = 4, 40
    base.train(unit)
    index = faiss.IndexRefineFlat(base)
    index.add(unit)

    def parameters(sel):
        inner = faiss.SearchParametersIVF(nprobe=probes, sel=sel)
        return faiss.IndexRefineSearchParameters(k_factor=refine, base_index_params=inner)

    return by_image(index, unit, images, parameters)


def linked(unit: np.ndarray, images: np.ndarray, links: int, build: int, effort: int) -> np.ndarray:
    import faiss

    index = faiss.IndexHNSWFlat(unit.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = build
    index.add(unit)
    return by_image(index, unit, images, lambda sel: faiss.SearchParametersHNSW(efSearch=effort, sel=sel))


def descent(unit: np.ndarray, images: np.ndarray, threads: int, more: int) -> np.ndarray:
    from pynndescent import NNDescent

    found = NNDescent(unit, "cosine", n_neighbors=more, n_jobs=threads, random_state=0).neighbor_graph[0]
    owner = np.repeat(np.arange(len(images) - 1), np.diff(images))
    own = owner[found] == owner[:, None]
    order = np.argsort(own, axis=1, kind="stable")[:, :COUNT]
    return np.where(np.take_along_axis(own, order, 1), -1, np.take_along_axis(found, order, 1))
