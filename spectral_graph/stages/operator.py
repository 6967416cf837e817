"""The merged operator of a run: written by stage `graph`, read by the stages after it."""

from __future__ import annotations

from pathlib import Path

from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.local_operator import local_operator
from spectral_graph.graph.merge import Normalisation, write_merged
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.stages.context import Context, graph_of


def merge_graphs(context: Context, store: GraphStore, layers: tuple[str, ...], normalisation: Normalisation) -> None:
    """Write the merged blocks that are missing; of several processes each writes some.

    Args:
        context: of the run.
        store: of the graph of one affinity, with all blocks of all layers.
        layers: their names.
        normalisation: of the blocks.
    """
    comm = context.comm
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    if comm.size > 1:
        if comm.is_rank0:
            store.make_folder(f"merged/{normalisation}")
        comm.barrier()
    own = ids[comm.rank :: comm.size]
    missing = [block for block in own if not store.has(f"merged/{normalisation}/{block}")]
    if missing:
        task, done = f"merge {store.attributes['kind']}", len(own) - len(missing)
        with context.reporter.track(task, len(own), "blocks", done) as progress:
            for _ in write_merged(store, layers, missing, normalisation):
                progress.advance()
    comm.barrier()


def operator_of(
    context: Context, table: ImageTable, kind: str, work: Path, normalisation: Normalisation | None = None
) -> BlockOperator:
    """Return the merged operator of one affinity, of several processes the rows that this one owns.

    Stage graph has merged the layers with the normalisation that the run had then; those of another are merged here.

    Args:
        context: of the run.
        table: its images.
        kind: the affinity.
        work: folder for working space.
        normalisation: that of the run by default.
    """
    comm, normalisation = context.comm, normalisation or context.config.normalisation
    store = graph_of(context, table, kind)
    merge_graphs(context, store, table.layers, normalisation)
    return merged_operator(store, normalisation) if comm.size == 1 else local_operator(store, normalisation, comm, work)
