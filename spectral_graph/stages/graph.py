"""Stage `graph`: features to CSR blocks, one block a layer and mini-batch; resumes block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.affinity import TENSORS, build_affinity
from spectral_graph.graph.batches import plan_batches
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.facts import GraphFacts
from spectral_graph.stages.context import Context, ImageTable, table_of


def build_graphs(context: Context) -> None:
    """Write `<kind>/graph.zarr` for every affinity asked for."""
    table = table_of(context)
    features = FeatureStore.open(context.run.path / "features.zarr")
    for kind in context.config.kinds:
        _build_kind(context, table, features, kind)


def batch_id(index: int) -> str:
    """Return the name of a mini-batch's blocks."""
    return f"{index:06d}"


def _build_kind(context: Context, table: ImageTable, features: FeatureStore, kind: str) -> None:
    config = context.config
    plan = plan_batches(len(table.images), config.batch, config.rounds, config.seed)
    rounds = sum(0 in part for part in plan)
    store = GraphStore.create(context.run.folder(kind) / "graph.zarr", _attributes(context, table, kind, rounds))
    jobs = [(index, layer) for index in range(len(plan)) for layer in table.layers]
    todo = [job for job in jobs if not store.has(f"blocks/{job[1]}/{batch_id(job[0])}")]
    means: dict[tuple[str, str], torch.Tensor | None] = {}
    with context.reporter.track(f"graph {kind}", len(jobs), "blocks", len(jobs) - len(todo)) as progress:
        for index, layer in todo:
            for tensor in TENSORS[kind]:
                if (layer, tensor) not in means:
                    mean = torch.from_numpy(features.mean(layer, tensor, table.slots)) if config.centre else None
                    means[layer, tensor] = mean
            block = _build_block(context, table, features, kind, layer, plan[index], means)
            store.write(f"blocks/{layer}/{batch_id(index)}", block)
            progress.advance()
    _gather_facts(store, table)


def _attributes(context: Context, table: ImageTable, kind: str, rounds: int) -> dict[str, Any]:
    config = context.config
    return {
        "kind": kind,
        "scope": "batch",
        "nodes": table.nodes,
        "nodes_per_image": table.nodes_per_image,
        "grid": list(table.grid),
        "layers": list(table.layers),
        "rounds": rounds,
        "batch": config.batch,
        "c_intra": config.c_intra,
        "c_inter": config.c_inter,
        "threshold": config.threshold,
        "sharpen": config.sharpen,
        "centred": config.centre,
        "seed": config.seed,
    }


def _build_block(
    context: Context,
    table: ImageTable,
    features: FeatureStore,
    kind: str,
    layer: str,
    images: np.ndarray,
    means: dict[tuple[str, str], torch.Tensor | None],
) -> Block:
    config, nodes = context.config, table.nodes_per_image
    left, right = TENSORS[kind]
    slots = [table.images[image].slot for image in images]

    def rows(tensor: str) -> torch.Tensor:
        values = features.read(layer, tensor, slots)
        return torch.from_numpy(values.reshape(-1, values.shape[2]))

    graph = build_affinity(
        rows(left),
        None if left == right else rows(right),
        torch.arange(0, (len(images) + 1) * nodes, nodes),
        config.c_intra,
        config.c_inter,
        config.threshold,
        means[layer, left],
        means[layer, right],
        config.sharpen,
    )
    facts = {"short_rows": graph.short_rows, "largest_in_degree": graph.largest_in_degree}
    return Block(
        rows=(images[:, None] * nodes + np.arange(nodes)).reshape(-1),
        indptr=graph.indptr.numpy(),
        indices=graph.indices.numpy(),
        values=graph.values.numpy(),
        degree=graph.degree.numpy(),
        facts=facts,
    )


def _gather_facts(store: GraphStore, table: ImageTable) -> None:
    """Note the facts of each layer, and of all layers together, in the store."""
    everything = GraphFacts(table.nodes)
    by_layer = {}
    for layer in table.layers:
        facts = GraphFacts(table.nodes)
        for name in store.names(f"blocks/{layer}"):
            block = store.read(name)
            facts.add(block)
            everything.add(block)
        by_layer[layer] = facts.summary()
    store.set_attributes(facts={"layers": by_layer, "all": everything.summary()})
