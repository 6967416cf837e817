"""Stage `graph`: features to CSR blocks; resumes block by block.

Scope `batch`: one block a layer and mini-batch. Scope `dataset`: `spectral_graph.stages.graph_dataset`. Of several
processes each builds some mini-batches, or some layers; then the first one, as if it were alone, finds them all built
and notes the facts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from spectral_graph.distributed.world import World
from spectral_graph.graph.affinity import build_affinity
from spectral_graph.graph.batches import plan_batches
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.stages.context import Context, features_of, table_of
from spectral_graph.stages.graph_dataset import build_dataset_scope
from spectral_graph.stages.graph_job import GraphJob


def build_graphs(context: Context) -> None:
    """Write `<kind>/graph.zarr` for every affinity asked for."""
    table = table_of(context)
    features = features_of(context, table)
    build = build_dataset_scope if context.config.scope == "dataset" else build_batch_scope
    world, kinds = context.world, context.config.kinds
    if world.size > 1:
        if world.leads:
            for kind in kinds:
                build(GraphJob(context, table, features, kind), lambda _: False)
        world.barrier()
        for number, kind in enumerate(kinds):
            build(GraphJob(context, table, features, kind), _turns(world, number * len(table.layers)))
        world.barrier()
    if world.leads:
        for kind in kinds:
            job = GraphJob(context, table, features, kind)
            job.finish(build(job, lambda _: True))


def _turns(world: World, dealt: int) -> Callable[[int], bool]:
    """Return a function that tells of a part's number whether it is this process's, after `dealt` parts before."""
    return lambda part: (dealt + part) % world.size == world.rank


def build_batch_scope(job: GraphJob, mine: Callable[[int], bool]) -> GraphStore:
    """Build one square block for each layer and mini-batch of images.

    Args:
        job: the graph.
        mine: tells of the number of a mini-batch whether this process is to build it.

    Returns:
        The store.
    """
    config, layers = job.config, job.table.layers
    plan = plan_batches(len(job.table.images), config.batch, config.rounds, config.seed)
    store = job.create(rounds=sum(0 in part for part in plan))
    names = [(index, layer, f"blocks/{layer}/{index:06d}") for index in range(len(plan)) for layer in layers]
    names = [(index, layer, name) for index, layer, name in names if mine(index)]
    done = sum(store.has(name) for _, _, name in names)
    with job.context.reporter.track(f"graph {job.kind}", len(names), "blocks", done) as progress:
        for index, layer, name in names:
            if store.has(name):
                job.count(layer, store.read(name))
                continue
            block = _build_block(job, layer, plan[index])
            store.write(name, block)
            job.count(layer, block)
            progress.advance()
    return store


def _build_block(job: GraphJob, layer: str, images: np.ndarray) -> Block:
    nodes = job.nodes_per_image(layer)
    graph = build_affinity(
        *job.queries_and_keys(layer, images.tolist()),
        torch.from_numpy(job.image_ptr(layer, len(images))),
        job.selection_for(layer, len(images)),
        *job.means(layer),
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
