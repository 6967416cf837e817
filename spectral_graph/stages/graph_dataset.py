"""Stage `graph`, scope `dataset`: one graph a layer over all images, its rows in blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.dataset_scope import InterLists, LayerBuilder, plan_blocks
from spectral_graph.graph.layer_lists import LayerLists
from spectral_graph.graph.neighbours.find import HELD_BYTES
from spectral_graph.io.files import remove
from spectral_graph.node_rows import held_in_memory
from spectral_graph.stages.graph_builder import WORK, GraphBuilder


def build_dataset_scope(builder: GraphBuilder, mine: Callable[[int], bool]) -> GraphStore:
    """Build the blocks of every layer: search, symmetrise, publish; a layer that is finished is only counted.

    Args:
        builder: the graph.
        mine: whether this process builds the layer of a number.

    Returns:
        The store.

    Raises:
        FeatureError: NaN or infinity in the vectors.
        GraphError: c_intra exceeds the nodes of the largest image, or c_inter the nodes of the others.
    """
    store = builder.create(rounds=1)
    work = store.path / WORK
    images = len(builder.table.images)
    # Blocks of all layers hold the same images, also where a layer has fewer nodes.
    bounds = plan_blocks(np.arange(images + 1) * builder.table.nodes_per_image, builder.config.block)
    for layer in (layer for number, layer in enumerate(builder.table.layers) if mine(number)):
        image_ptr, selection = builder.image_ptr(layer, images), builder.selection_for(layer, images)
        layer_builder = LayerBuilder(store, layer, image_ptr, bounds, selection, builder.same, work / layer / "lists")
        missing = layer_builder.missing()
        blocks = len(bounds) - 1
        for index in sorted(set(range(blocks)) - set(missing)):
            builder.count(layer, store.read(layer_builder.name(index)))
        if missing:
            lists = _layer_lists(builder, layer)
            inter, facts = _search(builder, layer, lists, work / layer / "search")
            with builder.context.reporter.track(
                f"graph {builder.kind} {layer}", blocks, "blocks", blocks - len(missing)
            ) as progress:
                for block in layer_builder.build(lists.inside, inter, facts):
                    builder.count(layer, block)
                    progress.advance()
            remove(work / layer)
    return store


def _layer_lists(builder: GraphBuilder, layer: str) -> LayerLists:
    tensors = builder.tensors[:1] if builder.same else builder.tensors
    # What is small enough is read once, for neighbours inside and outside the image.
    own, slots = builder.on_own_grid(layer), builder.table.slots
    sides = [held_in_memory(builder.features.rows(layer, tensor, slots, own), HELD_BYTES) for tensor in tensors]
    query_mean, key_mean = (None if mean is None else mean.numpy() for mean in builder.means(layer))
    images = len(builder.table.images)
    image_ptr, selection = builder.image_ptr(layer, images), builder.selection_for(layer, images)
    return LayerLists(sides[0], None if builder.same else sides[1], (query_mean, key_mean), image_ptr, selection)


def _search(
    builder: GraphBuilder, layer: str, lists: LayerLists, work: Path
) -> tuple[InterLists | None, dict[str, Any]]:
    """Return the neighbours in other images and facts about their search, and show how far it is."""
    config = builder.config
    with builder.context.reporter.track(f"search {builder.kind} {layer}", builder.table.nodes, "nodes") as progress:
        shown = [0]

        def show(done: int, total: int) -> None:
            at = done * builder.table.nodes // max(total, 1)
            progress.advance(at - shown[0])
            shown[0] = at

        return lists.outside(config.neighbours, config.recall, work, config.seed, show)
