"""The recall that is reported: measured on nodes that had no part in choosing the effort."""

import numpy as np
import pytest
import torch

from spectral_graph.graph.neighbours import cell_search, falls_short, find_neighbours, recall, shortfall
from spectral_graph.graph.neighbours.problem import SearchProblem, Side
from spectral_graph.graph.neighbours.recall import Truth
from spectral_graph.node_rows import ArrayRows
from spectral_graph.ops import topc_affinity

COUNT = 8


def scene(images, nodes, dim=40, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((25, dim))[generator.integers(0, 25, images * nodes)]
    rows = rows + generator.standard_normal(rows.shape)
    return rows.astype(np.float32), np.arange(0, images * nodes + 1, nodes)


def problem(rows, ptr, folder, seed=0):
    side = Side("query", ArrayRows(rows), None, ptr)
    return SearchProblem(side, side, ptr, COUNT, 0.8, 0.0, folder, seed, lambda done, total: None)


@pytest.mark.parametrize(("images", "nodes"), [(40, 30), (2, 700), (1200, 1), (300, 4)])
def test_the_halves_share_no_node_and_come_from_all_over(tmp_path, images, nodes):
    rows, ptr = scene(images, nodes)
    truth = Truth.start(problem(rows, ptr, tmp_path))
    tuning, held_out = (half.scan for half in (truth.tuning, truth.held_out))
    assert len(tuning.nodes) == len(held_out.nodes) == recall.TRUTH_QUERIES // 2
    assert not np.intersect1d(tuning.nodes, held_out.nodes).size
    for half in (tuning, held_out):
        of_image = np.bincount(half.image.numpy(), minlength=images)
        assert (of_image > 0).sum() >= 0.5 * min(images, 128)
        assert torch.equal(half.unit, truth.scan.unit[np.isin(truth.scan.nodes, half.nodes)])
    again = Truth.start(problem(rows, ptr, tmp_path))
    assert np.array_equal(again.held_out.scan.nodes, held_out.nodes)
    other = Truth.start(problem(rows, ptr, tmp_path, seed=1))
    assert not np.array_equal(other.held_out.scan.nodes, held_out.nodes)


@pytest.mark.parametrize("nodes", [1, 2, 3, 200])
def test_all_nodes_of_a_small_data_set_are_asked(tmp_path, nodes):
    rows = np.abs(scene(nodes, 1)[0])
    found = find_neighbours(ArrayRows(rows), None, np.arange(nodes + 1), 3, recall=0.9, work=tmp_path)
    assert found.facts["recall_queries"] == (nodes if nodes > 1 else 0)
    assert found.facts["recall_error"] == 0
    assert nodes > 3 or found.facts["recall"] == 1


@pytest.mark.parametrize("method", ["cells", "faiss-ivf"])
def test_the_figure_is_that_of_all_rows_within_its_error(tmp_path, one_thread, method):
    """Over several seeds, none is further off than 4 standard errors, and their mean not further than 3 of its own."""
    rows, ptr = scene(40, 40)
    unit = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    indptr, indices, _ = topc_affinity(unit, unit, torch.from_numpy(ptr), 0, COUNT, 0.0, symmetric=True)
    assert (indptr.diff() == COUNT).all()
    truth = indices.reshape(-1, COUNT).numpy()
    off = []
    for seed in range(8):
        work = tmp_path / str(seed)
        found = find_neighbours(ArrayRows(rows), None, ptr, COUNT, method=method, recall=0.8, work=work, seed=seed)
        reached = (truth[:, :, None] == np.asarray(found.columns)[:, None, :]).any(2).mean()
        facts = found.facts
        assert facts["recall_queries"] == 128 and 0 < facts["recall_error"] < 0.03
        off.append((facts["recall"] - reached) / facts["recall_error"])
    assert np.abs(off).max() < 4 and abs(np.mean(off)) < 3 / len(off) ** 0.5


def test_the_effort_is_chosen_on_the_other_half(tmp_path, monkeypatch):
    seen = []
    real = cell_search.choose_effort

    def spy(problem, truth, keys, cells):
        seen.append(truth.scan.nodes)
        return real(problem, truth, keys, cells)

    monkeypatch.setattr(cell_search, "choose_effort", spy)
    rows, ptr = scene(40, 30)
    measured = []
    real_facts = Truth.facts

    def facts(self, columns, values):
        measured.append(self.scan.nodes)
        return real_facts(self, columns, values)

    monkeypatch.setattr(Truth, "facts", facts)
    find_neighbours(ArrayRows(rows), None, ptr, COUNT, recall=0.8, work=tmp_path)
    assert len(seen) == len(measured) == 1
    assert len(seen[0]) and len(measured[0]) and not np.intersect1d(seen[0], measured[0]).size


def test_a_key_as_good_as_a_neighbour_counts_as_found(tmp_path):
    truth = Truth.start(problem(*scene(40, 30), tmp_path))
    truth.scan.columns = torch.arange(9, dtype=torch.int32).repeat(256, 1)
    truth.scan.values = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]).repeat(256, 1)
    truth.scan.columns[7, 3:], truth.scan.values[7, 3:] = -1, -torch.inf
    truth.scan.columns[8], truth.scan.values[8] = -1, -torch.inf
    columns = np.arange(100, 108).repeat(256).reshape(8, 256).T
    values = np.tile(np.float32([0.9, 0.8, 0.7, 0.6, 0.5, 0.4999999, 0.499, 0.4]), (256, 1))
    hits = truth.hits(columns, values)
    assert hits[0] == 6 and hits[7] == 3 and hits[8] == 0
    assert truth.tied[0] and not truth.tied[7] and not truth.tied[8]
    assert truth.known[0] == 8 and truth.known[7] == 3 and truth.known[8] == 0


@pytest.mark.parametrize(
    ("facts", "short"),
    [
        ({}, False),
        ({"recall": 0.5}, False),
        ({"recall": 1.0, "recall_asked": 0.95}, False),
        ({"recall": 0.949, "recall_asked": 0.95, "recall_error": 0.009, "recall_queries": 128}, True),
        ({"recall": 0.91, "recall_asked": 0.95, "recall_error": 0.012, "recall_queries": 128}, True),
        ({"recall": 0.07, "recall_asked": 0.95}, True),
    ],
)
def test_when_a_recall_falls_short(facts, short):
    assert falls_short(facts) == short
    if short:
        text = shortfall(facts)
        assert f"{facts['recall']:.3f}" in text and "0.95" in text and "exact" in text and "--" not in text


@pytest.mark.parametrize("method", ["faiss-ivf", "faiss-hnsw", "cells"])
def test_a_search_that_cannot_do_better_says_so(tmp_path, monkeypatch, method):
    rows, ptr = scene(40, 30)
    real = find_neighbours.__globals__[{"cells": "search_cells"}.get(method, "search_faiss")]

    def losing(problem, *more):
        lists, facts = real(problem, *more)
        return lists, facts | {"recall": 0.5, "recall_error": 0.02}

    monkeypatch.setitem(find_neighbours.__globals__, real.__name__, losing)
    assert falls_short(find_neighbours(ArrayRows(rows), None, ptr, 5, method=method, work=tmp_path).facts)
