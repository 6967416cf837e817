"""Method `cells`: a query meets the keys of its nearest cells, first projected, the best then in all dimensions."""

from __future__ import annotations

import shutil
import time
import zlib
from typing import Any

import numpy as np
import torch

from spectral_graph.graph.neighbours.again import search_again
from spectral_graph.graph.neighbours.candidates import candidates_of, wanted_keys
from spectral_graph.graph.neighbours.cells import (
    PCA_ROWS,
    ROWS_PER_CELL,
    Cells,
    cells_for,
    principal_directions,
    train_cells,
)
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists, open_lists
from spectral_graph.graph.neighbours.pages import Scratch, checksum
from spectral_graph.graph.neighbours.problem import READ_ROWS, SearchProblem
from spectral_graph.graph.neighbours.progress import Checkpoint
from spectral_graph.graph.neighbours.recall import Truth
from spectral_graph.graph.neighbours.sample import distinct, sample_nodes, unit_sample
from spectral_graph.graph.neighbours.table import ARRAYS, Table, unit_rows_of, write_table
from spectral_graph.graph.neighbours.tune import Effort, choose_effort
from spectral_graph.ops import cosine_topc

IN_MEMORY = 256 << 20
"""Bytes of rows, in order and rewritten, up to which a search keeps everything in memory; it then takes seconds."""
BLOCK_ROWS = 8192
"""Queries searched at a time, up to whole cells."""


def search_cells(problem: SearchProblem, checkpoint: Checkpoint) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search, or go on with a search that was interrupted.

    Returns:
        The lists and the facts.
    """
    start = time.perf_counter()
    cells, crc = _train(problem)
    trained = time.perf_counter()
    shared = problem.key is problem.query
    folder = problem.folder / "tables"
    on_disk = 2 * int(np.prod(problem.key.rows.shape)) * problem.key.rows.dtype.itemsize > IN_MEMORY
    scratch = [
        Scratch(folder / side.name, on_disk) for side in ((problem.key,) if shared else (problem.key, problem.query))
    ]
    truth = Truth.start(problem, cells.basis)
    state = checkpoint.load(crc)
    if state is not None and not _intact(problem, scratch, state):
        state = None
    if state is None:
        shutil.rmtree(folder, ignore_errors=True)
        scratch = [Scratch(part.folder, on_disk) for part in scratch]
        keys = write_table(scratch[0], problem, problem.key, cells, truth.scan.see)
        queries = keys if shared else write_table(scratch[1], problem, problem.query, cells)
        effort = choose_effort(problem, truth.tuning, keys, cells)
        scratch[0].new("truth", tuple(truth.scan.columns.shape), np.int32)[:] = truth.scan.columns.numpy()
        scratch[0].new("truth_values", tuple(truth.scan.values.shape), np.float32)[:] = truth.scan.values.numpy()
        lists = new_lists(problem.folder, problem.nodes, problem.count)
        state = {"effort": effort.record(), "rows": 0, "searched_again": 0, "tables": None, "lists": [0, 0]}
    else:
        truth.scan.columns = torch.from_numpy(scratch[0].get("truth"))
        truth.scan.values = torch.from_numpy(scratch[0].get("truth_values"))
        keys = Table(scratch[0])
        queries = keys if shared else Table(scratch[1])
        lists = open_lists(problem.folder)
    there = np.zeros(problem.nodes, bool)
    there[queries.node[: len(queries)].numpy()] = True
    # Nothing is written into the lists of the others, and nothing would replace damage there.
    lists.columns[~there], lists.values[~there] = -1, 0
    placed = time.perf_counter()
    effort = Effort(**state["effort"])
    _search(problem, cells, queries, keys, effort, lists, scratch, checkpoint, state)
    again = search_again(problem, lists, there)
    facts = {
        **truth.held_out.facts(lists.columns, lists.values),
        "cells": len(cells),
        "width": cells.basis.shape[1],
        **effort.record(),
        "zero_rows": problem.nodes - len(queries),
        "searched_again": state["searched_again"] + again,
        "seconds_training": trained - start,
        "seconds_placing": placed - trained,
        "seconds_searching": time.perf_counter() - placed,
    }
    return lists, facts


def _tables(scratch: list[Scratch]) -> int:
    """Return the checksum of the tables that a search goes on with."""
    crc = scratch[0].checksum((*ARRAYS, "truth", "truth_values"))
    return crc if len(scratch) == 1 else scratch[1].checksum(ARRAYS, crc)


def _intact(problem: SearchProblem, scratch: list[Scratch], state: dict[str, Any]) -> bool:
    """Tell whether the tables, and the lists as far as they were searched, are what the checkpoint speaks of."""
    try:
        if _tables(scratch) != state["tables"]:
            return False
        lists, found = open_lists(problem.folder), [0, 0]
        nodes = scratch[-1].get("node")[: state["rows"]]
        for begin in range(0, len(nodes), 1 << 16):
            found = _extended(found, lists, nodes[begin : begin + (1 << 16)])
            lists.drop()
    except (OSError, KeyError, ValueError, IndexError):
        return False
    return found == state["lists"]


def _extended(crc: list[int], lists: NeighbourLists, nodes: np.ndarray) -> list[int]:
    """Return the checksums of the lists of nodes one behind the other, columns and values, after some more nodes."""
    parts = lists.columns[nodes], lists.values[nodes]
    return [checksum(np.ascontiguousarray(part), before) for part, before in zip(parts, crc, strict=True)]


def _train(problem: SearchProblem) -> tuple[Cells, int]:
    """Return the cells, and a checksum of the rows that trained them."""
    number = cells_for(problem.nodes)
    nodes = sample_nodes(problem, max(PCA_ROWS, ROWS_PER_CELL * number), problem.seed)
    few = nodes[:: max(1, len(nodes) // PCA_ROWS)]
    sides = (problem.key,) if problem.key is problem.query else (problem.key, problem.query)
    unit = torch.cat([unit_sample(problem, side, few) for side in sides])
    basis = principal_directions(unit[distinct(unit)])
    sample, filled = torch.empty(len(nodes), basis.shape[1]), 0
    for begin in range(0, len(nodes), READ_ROWS):
        part = nodes[begin : begin + READ_ROWS]
        _, scales, projected = unit_rows_of(
            problem, problem.key, torch.from_numpy(problem.key.rows.read(part)), part, basis
        )
        kept = projected[scales > 0]
        sample[filled : filled + len(kept)] = kept
        filled += len(kept)
    sample = sample[:filled]
    sample = sample[distinct(sample.half())]
    if filled == 0:
        # Nothing has length: one cell that stays empty.
        sample = torch.zeros(1, basis.shape[1])
    return train_cells(basis, sample, number, problem.seed), zlib.crc32(unit.numpy().tobytes())


def _search(
    problem: SearchProblem,
    cells: Cells,
    queries: Table,
    keys: Table,
    effort: Effort,
    lists: NeighbourLists,
    scratch: list[Scratch],
    checkpoint: Checkpoint,
    state: dict[str, Any],
) -> None:
    starts, wanted = queries.cell_ptr.numpy(), wanted_keys(problem, keys)
    total, begin = len(queries), int(state["rows"])
    nothing = torch.zeros(queries.rows.shape[1], 0)
    while begin < total:
        problem.report(begin, total)
        cell = max(np.searchsorted(starts, begin + BLOCK_ROWS, "right") - 1, np.searchsorted(starts, begin, "right"))
        end = int(starts[cell])
        node = queries.node[begin:end].numpy()
        candidates, again = candidates_of(cells, queries, keys, effort, wanted, begin, end)
        unit, _, _ = unit_rows_of(problem, problem.query, queries.rows[begin:end], node, nothing)
        columns, values = cosine_topc(
            unit, keys.rows, problem.key.mean, keys.inverse, keys.node, candidates, problem.count, problem.threshold
        )
        lists.columns[node] = columns.numpy()
        lists.values[node] = values.numpy()
        begin = end
        state["rows"], state["searched_again"] = begin, state["searched_again"] + again
        if scratch[0].on_disk:
            state["lists"] = [
                checksum(part.numpy(), crc) for part, crc in zip((columns, values), state["lists"], strict=True)
            ]
            # Every block: a candidate that is read maps the pages around it as well.
            for part in scratch:
                part.drop()
            lists.drop()
        if scratch[0].on_disk and checkpoint.due():
            if state["tables"] is None:
                for part in scratch:
                    part.flush()
                state["tables"] = _tables(scratch)
            lists.flush()
            checkpoint.save(state)
    problem.report(total, total)
