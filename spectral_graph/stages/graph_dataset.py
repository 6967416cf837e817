"""Stage `graph`, scope `dataset`: one graph a layer over all images, its rows in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from spectral_graph.files import remove
from spectral_graph.graph.affinity import nearest
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import InterLists, LayerBuilder, plan_blocks
from spectral_graph.graph.lists import Lists
from spectral_graph.graph.neighbours import NeighbourLists, Rows, StoreRows, find_neighbours, is_complete, open_lists
from spectral_graph.graph.neighbours.find import HELD_BYTES
from spectral_graph.graph.neighbours.rows import hold
from spectral_graph.stages.graph_job import WORK, GraphJob

SEARCH_FACTS = ("recall", "cells", "probed", "zero_rows")


def build_dataset_scope(job: GraphJob, mine: Callable[[int], bool]) -> GraphStore:
    """Build the blocks of every layer: search, symmetrise, publish; a layer that is finished is only counted.

    Args:
        job: the graph.
        mine: tells of the number of a layer whether this process is to build it.

    Returns:
        The store.

    Raises:
        FeatureError: NaN or infinity in the vectors.
        GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
    """
    store = job.create(rounds=1)
    work = store.path / WORK
    image_ptr = job.image_ptr(len(job.table.images))
    bounds = plan_blocks(image_ptr, job.config.block)
    for layer in (layer for number, layer in enumerate(job.table.layers) if mine(number)):
        builder = LayerBuilder(store, layer, image_ptr, bounds, job.selection, job.same, work / layer / "lists")
        missing = builder.missing()
        blocks = len(bounds) - 1
        for index in sorted(set(range(blocks)) - set(missing)):
            job.count(layer, store.read(builder.name(index)))
        if missing:
            tensors = job.tensors[:1] if job.same else job.tensors
            # What is small enough is read once, for neighbours inside and outside the image.
            sides = [hold(StoreRows(job.features, layer, tensor, job.table.slots), HELD_BYTES) for tensor in tensors]
            inter, facts = _search(job, layer, sides, work / layer / "search")
            with job.context.reporter.track(
                f"graph {job.kind} {layer}", blocks, "blocks", blocks - len(missing)
            ) as progress:
                for block in builder.build(partial(_intra, job, layer, sides), inter, facts):
                    job.count(layer, block)
                    progress.advance()
            remove(work / layer)
    return store


def _intra(job: GraphJob, layer: str, sides: Sequence[Rows], start: int, stop: int) -> Lists:
    """Return the neighbour lists inside their image of the nodes of the images start to stop."""
    nodes = slice(start * job.table.nodes_per_image, stop * job.table.nodes_per_image)
    parts = [torch.from_numpy(side.read(nodes)) for side in sides]
    query, key = parts[0], None if job.same else parts[1]
    image_ptr = torch.from_numpy(job.image_ptr(stop - start))
    counts = (job.selection.candidates[0], 0)
    return nearest(query, key, image_ptr, counts, job.selection.threshold, *job.means(layer))


def _search(job: GraphJob, layer: str, sides: Sequence[Rows], work: Path) -> tuple[InterLists | None, dict[str, Any]]:
    """Return the neighbours in other images and facts about their search; None where none are wanted."""
    config, selection, images = job.config, job.selection, len(job.table.images)
    image_ptr = job.image_ptr(images)
    sizes = image_ptr[1:] - image_ptr[:-1]
    selection.require_room(sizes, "the data set", "")
    others = int(sizes.sum() - sizes.max())
    count = min(selection.candidates[1], others)
    if count == 0:
        return None, {"recall": 1.0}
    if is_complete(work):  # only the blocks were not
        lists = open_lists(work)
        return lists, _search_facts(lists)
    means = [None if mean is None else mean.numpy() for mean in job.means(layer)]
    with job.context.reporter.track(f"search {job.kind} {layer}", job.table.nodes, "nodes") as progress:
        shown = [0]

        def show(done: int, total: int) -> None:
            at = done * job.table.nodes // max(total, 1)
            progress.advance(at - shown[0])
            shown[0] = at

        lists = find_neighbours(
            sides[0],
            None if job.same else sides[1],
            image_ptr,
            count,
            method=config.neighbours,
            recall=config.recall,
            threshold=selection.threshold,
            query_mean=means[0],
            key_mean=None if job.same else means[1],
            work=work,
            seed=config.seed,
            on_progress=show,
        )
    return lists, _search_facts(lists)


def _search_facts(lists: NeighbourLists) -> dict[str, Any]:
    """Return what is stored with the graph; times are not, so that equal runs have equal files."""
    return {name: lists.facts[name] for name in SEARCH_FACTS if name in lists.facts}
