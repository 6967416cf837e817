"""Stage `graph`: features to CSR blocks; resumes block by block.

Scope `batch`: one block a layer and mini-batch. Scope `dataset`: `spectral_graph.stages.graph_dataset`. Of several
processes each builds some mini-batches, or some layers; then the first one, as if it were alone, finds them all built
and notes the facts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from spectral_graph.distributed.comm import Comm
from spectral_graph.graph.affinity import build_affinity
from spectral_graph.graph.batches import plan_batches
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.stages.context import Context, features_of, graph_of, table_of
from spectral_graph.stages.graph_builder import GraphBuilder
from spectral_graph.stages.graph_dataset import build_dataset_scope
from spectral_graph.stages.operator import merge_graphs


def build_graphs(context: Context) -> None:
    """Write `<kind>/graph.zarr` for every affinity asked for."""
    table = table_of(context)
    features = features_of(context, table)
    build = build_dataset_scope if context.config.scope == "dataset" else build_batch_scope
    comm, kinds = context.comm, context.config.kinds
    if comm.size > 1:
        if comm.is_rank0:
            for kind in kinds:
                build(GraphBuilder(context, table, features, kind), lambda _: False)
        comm.barrier()
        for number, kind in enumerate(kinds):
            build(GraphBuilder(context, table, features, kind), _turns(comm, number * len(table.layers)))
        comm.barrier()
    if comm.is_rank0:
        for kind in kinds:
            builder = GraphBuilder(context, table, features, kind)
            builder.finish(build(builder, lambda _: True))
    comm.barrier()
    for kind in kinds:
        merge_graphs(context, graph_of(context, table, kind), table.layers, context.config.normalisation)


def _turns(comm: Comm, dealt: int) -> Callable[[int], bool]:
    """Return a function that says whether a part, by its number, belongs to this process; `dealt` parts came before."""
    return lambda part: (dealt + part) % comm.size == comm.rank


def build_batch_scope(builder: GraphBuilder, mine: Callable[[int], bool]) -> GraphStore:
    """Build one square block for each layer and mini-batch of images.

    Args:
        builder: the graph.
        mine: whether this process builds the mini-batch of a number.

    Returns:
        The store.
    """
    config, layers = builder.config, builder.table.layers
    plan = plan_batches(len(builder.table.images), config.batch, config.rounds, config.seed)
    store = builder.create(rounds=sum(0 in part for part in plan))
    names = [(index, layer, f"blocks/{layer}/{index:06d}") for index in range(len(plan)) for layer in layers]
    names = [(index, layer, name) for index, layer, name in names if mine(index)]
    done = sum(store.has(name) for _, _, name in names)
    with builder.context.reporter.track(f"graph {builder.kind}", len(names), "blocks", done) as progress:
        for index, layer, name in names:
            if store.has(name):
                builder.count(layer, store.read(name))
                continue
            block = _build_block(builder, layer, plan[index])
            store.write(name, block)
            builder.count(layer, block)
            progress.advance()
    return store


def _build_block(builder: GraphBuilder, layer: str, images: np.ndarray) -> Block:
    nodes = builder.nodes_per_image(layer)
    graph = build_affinity(
        *builder.queries_and_keys(layer, images.tolist()),
        torch.from_numpy(builder.image_ptr(layer, len(images))),
        builder.selection_for(layer, len(images)),
        *builder.means(layer),
    )
    return Block(
        rows=(images[:, None] * nodes + np.arange(nodes)).reshape(-1),
        indptr=graph.indptr,
        indices=graph.indices,
        values=graph.values,
        degree=graph.degree,
        facts={"short_rows": graph.short_rows, "recall": 1.0},
        in_degree=graph.in_degree,
    )
