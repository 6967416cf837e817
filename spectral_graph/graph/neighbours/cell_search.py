"""Method `cells`: a query meets the keys of its nearest cells, first projected, the best then in all dimensions."""

from __future__ import annotations

import shutil
import time
import zlib
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.neighbours.cells import (
    PCA_ROWS,
    ROWS_PER_CELL,
    Cells,
    cells_for,
    principal_directions,
    train_cells,
)
from spectral_graph.graph.neighbours.job import READ_ROWS, Job
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists, open_lists
from spectral_graph.graph.neighbours.pages import Scratch
from spectral_graph.graph.neighbours.progress import Checkpoint
from spectral_graph.graph.neighbours.sample import Truth, sample_nodes, unit_sample
from spectral_graph.graph.neighbours.table import Table, unit_rows_of, write_table
from spectral_graph.graph.neighbours.tune import Effort, choose_effort
from spectral_graph.ops import cell_topc, cosine_topc

IN_MEMORY = 256 << 20
"""Bytes of rows, in order and rewritten, up to which a search keeps everything in memory; it then takes seconds."""
BLOCK_ROWS = 8192
"""Queries searched at a time, up to whole cells."""


def search_cells(job: Job, checkpoint: Checkpoint) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search, or go on with a search that was interrupted.

    Returns:
        The lists and the facts.
    """
    start = time.perf_counter()
    cells, crc = _train(job)
    trained = time.perf_counter()
    state = checkpoint.load(crc)
    shared = job.key is job.query
    folder = job.folder / "tables"
    on_disk = 2 * int(np.prod(job.key.rows.shape)) * job.key.rows.dtype.itemsize > IN_MEMORY
    scratch = [Scratch(folder / side.name, on_disk) for side in ((job.key,) if shared else (job.key, job.query))]
    if state is None:
        shutil.rmtree(folder, ignore_errors=True)
        truth = Truth.start(job)
        keys = write_table(scratch[0], job, job.key, cells, truth.see)
        queries = keys if shared else write_table(scratch[1], job, job.query, cells)
        effort = choose_effort(truth, keys, cells, job.count, job.recall)
        scratch[0].new("truth", tuple(truth.columns.shape), np.int32)[:] = truth.columns.numpy()
        lists = new_lists(job.folder, job.nodes, job.count)
        state = {"effort": effort.record(), "rows": 0}
    else:
        truth = Truth.start(job)
        truth.columns = torch.from_numpy(scratch[0].get("truth"))
        keys = Table(scratch[0])
        queries = keys if shared else Table(scratch[1])
        lists = open_lists(job.folder)
    placed = time.perf_counter()
    effort = Effort(**state["effort"])
    _search(job, cells, queries, keys, effort, lists, scratch, checkpoint, state)
    facts = {
        "recall": truth.recall(lists.columns),
        "cells": len(cells),
        "width": cells.basis.shape[1],
        **effort.record(),
        "zero_rows": job.nodes - len(queries),
        "seconds_training": trained - start,
        "seconds_placing": placed - trained,
        "seconds_searching": time.perf_counter() - placed,
    }
    return lists, facts


def _train(job: Job) -> tuple[Cells, int]:
    """Return the cells, and a checksum of the rows that trained them."""
    number = cells_for(job.nodes)
    nodes = sample_nodes(job, max(PCA_ROWS, ROWS_PER_CELL * number), job.seed)
    few = nodes[:: max(1, len(nodes) // PCA_ROWS)]
    sides = (job.key,) if job.key is job.query else (job.key, job.query)
    unit = torch.cat([unit_sample(job, side, few) for side in sides])
    basis = principal_directions(unit)
    sample, filled = torch.empty(len(nodes), basis.shape[1]), 0
    for begin in range(0, len(nodes), READ_ROWS):
        part = nodes[begin : begin + READ_ROWS]
        _, scales, projected = unit_rows_of(job, job.key, torch.from_numpy(job.key.rows.read(part)), part, basis)
        kept = projected[scales > 0]
        sample[filled : filled + len(kept)] = kept
        filled += len(kept)
    sample = sample[:filled]
    if filled == 0:
        # Nothing has length: one cell that stays empty.
        sample = torch.zeros(1, basis.shape[1])
    return train_cells(basis, sample, number, job.seed), zlib.crc32(unit.numpy().tobytes())


def _search(
    job: Job,
    cells: Cells,
    queries: Table,
    keys: Table,
    effort: Effort,
    lists: NeighbourLists,
    scratch: list[Scratch],
    checkpoint: Checkpoint,
    state: dict[str, Any],
) -> None:
    starts, flushed = queries.cell_ptr.numpy(), False
    total, begin = len(queries), int(state["rows"])
    nothing = torch.zeros(queries.rows.shape[1], 0)
    while begin < total:
        job.report(begin, total)
        cell = max(np.searchsorted(starts, begin + BLOCK_ROWS, "right") - 1, np.searchsorted(starts, begin, "right"))
        end = int(starts[cell])
        node, image = queries.node[begin:end], queries.image[begin:end]
        projected = queries.projected[begin:end].float()
        probes = cells.nearest(projected, effort.probed, effort.groups)
        candidates, _ = cell_topc(
            projected, image, keys.projected, keys.image, keys.cell_ptr, probes, effort.candidates
        )
        unit, _, _ = unit_rows_of(job, job.query, queries.rows[begin:end], node.numpy(), nothing)
        columns, values = cosine_topc(
            unit, keys.rows, job.key.mean, keys.inverse, keys.node, candidates, job.count, job.threshold
        )
        lists.columns[node.numpy()] = columns.numpy()
        lists.values[node.numpy()] = values.numpy()
        begin = end
        if scratch[0].on_disk:
            # Every block: a candidate that is read maps the pages around it as well.
            for part in scratch:
                part.drop()
            lists.drop()
        if scratch[0].on_disk and checkpoint.due():
            if not flushed:
                for part in scratch:
                    part.flush()
                flushed = True
            lists.flush()
            state["rows"] = begin
            checkpoint.save(state)
    job.report(total, total)
