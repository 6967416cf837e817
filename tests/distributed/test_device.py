"""Processes that keep the columns of their rows on a device each; the CPU stands for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from shared_work import in_processes, operator_of, random_graph, result_of, store_batches, store_graph

from spectral_graph.errors import DeviceMemoryError
from spectral_graph.solve import device_room
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev

PER_IMAGE, IMAGES, CHANNELS = 12, 9, 5
NODES = PER_IMAGE * IMAGES


def solve(comm, path, work, places):
    """Solve with the columns of each process where `places` says: on a device, or not."""
    operator = operator_of(comm, path, work)
    device = torch.device("cpu") if places[comm.rank] else None
    found, rounds = chebyshev(
        operator, Path(work), ChebyshevSettings(CHANNELS, 1e-5, 6, 40, 0), PER_IMAGE, lambda _: None, device=device
    )
    return found.view()[:, :CHANNELS].copy(), rounds[-1].ritz[:CHANNELS], len(rounds)


@pytest.mark.parametrize("scope", ["batch", "dataset"])
def test_processes_may_have_their_columns_on_devices_or_not(tmp_path, scope):
    if scope == "batch":
        _, dense = store_batches(tmp_path / "g", NODES, PER_IMAGE)
    else:
        dense = random_graph(NODES, np.random.default_rng(1))
        store_graph(tmp_path / "g", dense, 4, PER_IMAGE)
    values, vectors = np.linalg.eigh(dense)
    results = []
    for places in ([False, False], [True, True], [True, False]):
        found = result_of(in_processes(2, solve, tmp_path / "g", tmp_path / f"{places}", places))
        x = np.concatenate([part for part, _, _ in found])
        assert subspace_angles(x.astype(np.float64), vectors[:, ::-1][:, :CHANNELS]).max() < 1e-4
        np.testing.assert_allclose(found[0][1], values[::-1][:CHANNELS], atol=1e-5)
        results.append(x)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def room(comm, path, work):
    """Let the columns and the rows of others just fit, and then not."""
    operator = operator_of(comm, path, work)
    rows = len(operator.rows)
    needed = 4 * 24 * (4 * rows + operator.halo)
    said = []
    for free in (needed + 2, needed - 2):
        device_room.free_bytes = lambda _, free=free: free / device_room.COLUMNS_SHARE
        try:
            device_room.check_room(torch.device("cpu"), operator, CHANNELS)
            said.append("")
        except DeviceMemoryError as error:
            said.append(str(error))
    return operator.halo, said


def test_rows_of_other_processes_need_room_too(tmp_path):
    store_graph(tmp_path / "g", random_graph(NODES, np.random.default_rng(1)), 4, PER_IMAGE)
    for halo, (fits, refused) in result_of(in_processes(2, room, tmp_path / "g", tmp_path / "w")):
        assert halo > 0 and fits == "" and "lower `channels`" in refused
