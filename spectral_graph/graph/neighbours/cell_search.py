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
from spectral_graph.graph.neighbours.lists import NeighbourLists, new_lists, open_lists
from spectral_graph.graph.neighbours.probing import Candidates, Effort, choose_effort
from spectral_graph.graph.neighbours.problem import READ_ROWS, SearchProblem, distinct, unit_sample
from spectral_graph.graph.neighbours.recall import Truth
from spectral_graph.graph.neighbours.scan import search_again
from spectral_graph.graph.neighbours.scratch import Checkpoint, Scratch, checksum
from spectral_graph.graph.neighbours.table import ARRAYS, Table, write_table
from spectral_graph.ops import cosine_topc

IN_MEMORY = 256 << 20
"""Bytes of rows, in order and rewritten, up to which a search keeps everything in memory; it then takes seconds."""
BLOCK_ROWS = 8192
"""Queries searched at a time, up to whole cells."""
TRUTH = ("truth", "truth_values")
"""Scratch arrays with the exact neighbours of the sample."""


def search_cells(problem: SearchProblem, checkpoint: Checkpoint) -> tuple[NeighbourLists, dict[str, Any]]:
    """Search, or resume an interrupted search.

    Returns:
        The lists and the facts.
    """
    start = time.perf_counter()
    cells, crc = _train(problem)
    trained = time.perf_counter()
    search = _CellSearch(problem, checkpoint, cells, crc)
    placed = time.perf_counter()
    search.run()
    again = search_again(problem, search.lists, search.there)
    facts = {
        **search.truth.held_out.facts(search.lists.columns, search.lists.values),
        "cells": len(cells),
        "width": cells.basis.shape[1],
        **search.effort.record(),
        "zero_rows": problem.nodes - len(search.queries),
        "searched_again": search.state["searched_again"] + again,
        "seconds_training": trained - start,
        "seconds_placing": placed - trained,
        "seconds_searching": time.perf_counter() - placed,
    }
    return search.lists, facts


class _CellSearch:
    """Tables, effort and lists of a search: those of its last checkpoint where they are intact, else new ones.

    Attributes:
        state: what a checkpoint holds: effort, queries done, nodes searched again, checksums of tables and lists.
        there: (nodes,) bool, whether a node's row is not zero.
    """

    def __init__(self, problem: SearchProblem, checkpoint: Checkpoint, cells: Cells, crc: int) -> None:
        self.problem, self.checkpoint = problem, checkpoint
        folder = problem.folder / "tables"
        self.on_disk = 2 * int(np.prod(problem.key.rows.shape)) * problem.key.rows.dtype.itemsize > IN_MEMORY
        sides = (problem.key,) if problem.symmetric else (problem.key, problem.query)
        self.scratch = [Scratch(folder / side.name, self.on_disk) for side in sides]
        self.truth = Truth.start(problem, cells.basis)
        state = checkpoint.load(crc)
        if state is not None and self._intact(state):
            self.state = state
            scan = self.truth.scan
            scan.columns, scan.values = (torch.from_numpy(self.scratch[0].get(name)) for name in TRUTH)
            tables = [Table(part) for part in self.scratch]
            self.keys, self.queries, self.lists = tables[0], tables[-1], open_lists(problem.folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            self._begin(cells, [Scratch(part.folder, self.on_disk) for part in self.scratch])
        self.effort = Effort(**self.state["effort"])
        self.candidates = Candidates(problem, cells, self.queries, self.keys, self.effort)
        self.there = np.zeros(problem.nodes, bool)
        self.there[self.queries.node[: len(self.queries)].numpy()] = True
        # The search writes nothing into the lists of zero rows, so that damage there would stay.
        self.lists.columns[~self.there], self.lists.values[~self.there] = -1, 0

    def _begin(self, cells: Cells, scratch: list[Scratch]) -> None:
        problem, scan, self.scratch = self.problem, self.truth.scan, scratch
        self.keys = self.queries = write_table(scratch[0], problem, problem.key, cells, scan.see)
        if not problem.symmetric:
            self.queries = write_table(scratch[1], problem, problem.query, cells)
        effort = choose_effort(problem, self.truth.tuning, self.keys, cells)
        for name, array in zip(TRUTH, (scan.columns, scan.values), strict=True):
            scratch[0].put(name, array.numpy())
        self.lists = new_lists(problem.folder, problem.nodes, problem.count)
        self.state = {"effort": effort.record(), "rows": 0, "searched_again": 0, "tables": None, "lists": [0, 0]}

    def run(self) -> None:
        """Search the queries that are left, block by block."""
        problem, queries, keys, state = self.problem, self.queries, self.keys, self.state
        starts, total, begin = queries.cell_ptr.numpy(), len(queries), int(state["rows"])
        while begin < total:
            problem.report(begin, total)
            full = np.searchsorted(starts, begin + BLOCK_ROWS, "right") - 1
            end = int(starts[max(full, np.searchsorted(starts, begin, "right"))])
            node = queries.node[begin:end].numpy()
            candidates, again = self.candidates.of(begin, end)
            unit, _, _ = problem.query.project(queries.rows[begin:end], node)
            columns, values = cosine_topc(
                unit, keys.rows, problem.key.mean, keys.inverse, keys.node, candidates, problem.count, problem.threshold
            )
            self.lists.columns[node] = columns.numpy()
            self.lists.values[node] = values.numpy()
            begin = end
            state["rows"], state["searched_again"] = begin, state["searched_again"] + again
            if self.on_disk:
                self._after_block(columns.numpy(), values.numpy())
        problem.report(total, total)

    def _after_block(self, columns: np.ndarray, values: np.ndarray) -> None:
        """Release the pages of a block, and save a checkpoint when it is due."""
        state = self.state
        state["lists"] = [checksum(part, crc) for part, crc in zip((columns, values), state["lists"], strict=True)]
        # After every block, because reading a candidate maps the pages around it as well.
        for part in self.scratch:
            part.drop()
        self.lists.drop()
        if self.checkpoint.due():
            if state["tables"] is None:
                for part in self.scratch:
                    part.flush()
                state["tables"] = self._tables()
            self.lists.flush()
            self.checkpoint.save(state)

    def _tables(self) -> int:
        """Return the checksum of the tables that a search resumes with."""
        crc = self.scratch[0].checksum((*ARRAYS, *TRUTH))
        return crc if len(self.scratch) == 1 else self.scratch[1].checksum(ARRAYS, crc)

    def _intact(self, state: dict[str, Any]) -> bool:
        """Return whether the tables, and the lists searched so far, have the checksums of the checkpoint."""
        try:
            if self._tables() != state["tables"]:
                return False
            lists, found = open_lists(self.problem.folder), [0, 0]
            nodes = self.scratch[-1].get("node")[: state["rows"]]
            for begin in range(0, len(nodes), 1 << 16):
                which = nodes[begin : begin + (1 << 16)]
                parts = lists.columns[which], lists.values[which]
                found = [checksum(np.ascontiguousarray(part), crc) for part, crc in zip(parts, found, strict=True)]
                lists.drop()
        except (OSError, KeyError, ValueError, IndexError):
            return False
        return found == state["lists"]


def _train(problem: SearchProblem) -> tuple[Cells, int]:
    """Return the cells, and a checksum of the rows that trained them."""
    number = cells_for(problem.nodes)
    nodes = problem.sample(max(PCA_ROWS, ROWS_PER_CELL * number), problem.seed)
    few = nodes[:: max(1, len(nodes) // PCA_ROWS)]
    sides = (problem.key,) if problem.symmetric else (problem.key, problem.query)
    unit = torch.cat([unit_sample(side, few) for side in sides])
    basis = principal_directions(unit[distinct(unit)])
    sample, filled = torch.empty(len(nodes), basis.shape[1]), 0
    for begin in range(0, len(nodes), READ_ROWS):
        _, scales, projected = problem.key.unit(nodes[begin : begin + READ_ROWS], basis)
        kept = projected[scales > 0]
        sample[filled : filled + len(kept)] = kept
        filled += len(kept)
    sample = sample[:filled]
    sample = sample[distinct(sample.half())]
    if filled == 0:
        # All rows are zero: one cell, which stays empty.
        sample = torch.zeros(1, basis.shape[1])
    return train_cells(basis, sample, number, problem.seed), zlib.crc32(unit.numpy().tobytes())
