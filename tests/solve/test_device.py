"""The solver with its columns on a device: here the CPU stands for one, which shows the path but not the kernels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.linalg import subspace_angles

import spectral_graph.solve.chebyshev as solver
from spectral_graph.errors import ConfigError, DeviceMemoryError, SolverError
from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.ops.library import call
from spectral_graph.solve import device_columns, device_room
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.device_operator import DeviceOperator
from spectral_graph.solve.recurrence import step

CPU = torch.device("cpu")
SCOPES = ("dataset", "batch")
pytestmark = pytest.mark.usefixtures("one_thread")


def random_affinity(nodes, seed=0, groups=5):
    """A normalised adjacency of weakly joined groups, dense."""
    generator = np.random.default_rng(seed)
    member = generator.integers(0, groups, nodes)
    chance = np.where(member[:, None] == member, 0.2, 0.01)
    upper = np.triu(generator.random((nodes, nodes)) < chance, 1) * generator.uniform(0.2, 1, (nodes, nodes))
    root = 1 / np.sqrt(np.maximum((upper + upper.T).sum(axis=1), 1e-9))
    return root[:, None] * (upper + upper.T) * root


def stored(path, scope, nodes=330):
    """A graph as either scope stores it: blocks of rows, or square blocks on nodes here and there in three rounds."""
    rounds = 3 if scope == "batch" else 1
    store = GraphStore.create(path, {"nodes": nodes, "rounds": rounds})
    dense, order = np.zeros((nodes, nodes)), np.random.default_rng(1).permutation(nodes)
    if scope == "dataset":
        dense = random_affinity(nodes)
        parts = [(np.arange(rows[0], rows[-1] + 1), dense[rows]) for rows in np.array_split(np.arange(nodes), 5)]
    else:
        groups = [np.sort(part) for shift in range(rounds) for part in np.array_split(np.roll(order, 50 * shift), 2)]
        parts = [(rows, random_affinity(len(rows), seed)) for seed, rows in enumerate(groups)]
    for index, (rows, values) in enumerate(parts):
        a = sparse.csr_matrix(values.astype(np.float32))
        columns, places = local_columns(a.indices, a.shape[1])
        if scope == "batch":
            dense[np.ix_(rows, rows)] += values / rounds
            columns, places = None, a.indices.astype(np.int32)
        block = Block(rows, a.indptr.astype(np.int64), places, a.data, None, {}, columns)
        store.write(f"merged/symmetric/{index:06d}", block)
    return store, dense


def operator_of(store, kept_bytes=0):
    about = store.attributes
    return BlockOperator(store, store.names("merged/symmetric"), about["nodes"], about["rounds"], kept_bytes)


def solve(store, work, device=CPU, channels=20, tol=1e-5, on_round=lambda _: None, degree=3, start=None, **more):
    settings = ChebyshevSettings(channels, tol, degree, 60, **more)
    return chebyshev(operator_of(store), work, settings, 1, on_round, start, device)


def angle(one, other):
    return subspace_angles(one.astype(np.float64), other.astype(np.float64)).max()


@pytest.mark.parametrize("scope", SCOPES)
def test_eigenpairs_equal_dense(tmp_path, scope):
    store, dense = stored(tmp_path / "g", scope)
    found, rounds = solve(store, tmp_path / "w", tol=1e-5, channels=4)
    values, vectors = np.linalg.eigh(dense)
    np.testing.assert_allclose(rounds[-1].ritz[:4], values[::-1][:4], atol=1e-5)
    x = found.view()[:, :4].astype(np.float64)
    assert angle(x, vectors[:, ::-1][:, :4]) < 1e-3
    np.testing.assert_allclose(x.T @ x, np.eye(4), atol=1e-5)
    residuals = np.linalg.norm(dense @ x - x * rounds[-1].ritz[:4], axis=0)
    np.testing.assert_allclose(residuals, rounds[-1].residuals[:4], atol=2e-6)


@pytest.mark.parametrize("scope", SCOPES)
def test_both_places_have_the_same_bits(tmp_path, monkeypatch, scope):
    """On the CPU both have the same operators. Every other filter is told to leave eight columns alone."""
    monkeypatch.setattr(solver, "locked_columns", lambda last, *_: 8 * (last.index % 2))
    store, _ = stored(tmp_path / "g", scope)
    there, rounds = solve(store, tmp_path / "w")
    here, others = solve(store, tmp_path / "v", device=None)
    assert len(rounds) == len(others) and {done.filtered for done in rounds} == {48, 40}
    np.testing.assert_array_equal(there.view(), here.view())
    np.testing.assert_array_equal(rounds[-1].ritz, others[-1].ritz)
    np.testing.assert_array_equal(rounds[-1].residuals, others[-1].residuals)


@pytest.mark.parametrize("scope", SCOPES)
def test_blocks_that_stay_and_blocks_that_pass_give_the_same_bits(tmp_path, monkeypatch, scope):
    store, _ = stored(tmp_path / "g", scope)
    names = store.names("merged/symmetric")
    sizes = [block.nbytes for block in operator_of(store).blocks()]
    reads, read = [], store.read
    monkeypatch.setattr(store, "read", lambda name, **more: reads.append(name) or read(name, **more))
    results, counts = [], []
    for room in (1 << 40, sum(sizes[:2]) + 1, 0):
        monkeypatch.setattr(device_columns, "room_for_blocks", lambda _, room=room: room)
        reads.clear()
        found, rounds = solve(store, tmp_path / f"{room}", memory_bytes=0)
        results.append(found.view())
        counts.append([reads.count(name) for name in names])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert counts[0] == [1] * len(names)
    assert counts[1][:2] == [1, 1] and counts[1][2:] == counts[2][2:]
    products = 10 + sum(done.degree + 1 for done in rounds)  # the estimate makes ten
    assert counts[2] == [products] * len(names)


def test_blocks_that_pass_stay_in_the_memory_that_is_allowed(tmp_path, monkeypatch):
    store, _ = stored(tmp_path / "g", "dataset")
    sizes = [block.nbytes for block in operator_of(store).blocks()]
    reads, read = [], store.read
    monkeypatch.setattr(store, "read", lambda name, **more: reads.append(name) or read(name, **more))
    operator = DeviceOperator(operator_of(store, kept_bytes=sizes[2] + sizes[3]), CPU, sizes[0] + sizes[1])
    for _ in range(5):
        list(operator.blocks())
    assert operator.resident_bytes == sizes[0] + sizes[1]
    # What stays on the device takes none of it; the third and fourth are read once more before they are kept.
    assert [reads.count(name) for name in store.names("merged/symmetric")] == [1, 1, 2, 2, 5]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("keep", [0.0, -0.7])
def test_a_step_equals_dense(tmp_path, scope, keep):
    store, dense = stored(tmp_path / "g", scope)
    operator = DeviceOperator(operator_of(store), CPU, 0)
    x, y = torch.randn(2, 330, 7, generator=torch.Generator().manual_seed(0))
    expected = 1.5 * dense @ x.numpy() - 0.25 * x.numpy() + keep * y.numpy()
    if keep == 0:
        y.fill_(torch.nan)
    step(operator, x, y, 1.5, -0.25, keep)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)
    v = np.random.default_rng(0).standard_normal(330).astype(np.float32)
    np.testing.assert_allclose(operator @ v, dense @ v, atol=1e-5)


class Stop(Exception):
    pass


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("first", [CPU, None])
def test_a_solve_goes_on_from_the_checkpoint_of_the_other_place(tmp_path, monkeypatch, first, scope):
    monkeypatch.setattr(solver, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    store, _ = stored(tmp_path / "g", scope)
    whole, rounds = solve(store, tmp_path / "v", first)

    def stop(result):
        if result.index == 2:
            raise Stop

    with pytest.raises(Stop):
        solve(store, tmp_path / "w", first, on_round=stop)
    seen = []
    again, _ = solve(store, tmp_path / "w", None if first else CPU, on_round=lambda done: seen.append(done.index))
    assert seen == list(range(3, len(rounds) + 1)) and seen
    np.testing.assert_array_equal(whole.view(), again.view())


def test_warm_starts(tmp_path):
    store, dense = stored(tmp_path / "g", "dataset")
    cold, rounds = solve(store, tmp_path / "a", tol=1e-4)
    _, again = solve(store, tmp_path / "b", tol=1e-4, start=cold.view()[:, :20])
    assert len(again) == 1 and again[0].degree == 0
    np.testing.assert_allclose(again[0].ritz[:20], rounds[-1].ritz[:20], atol=1e-6)
    wide = np.random.default_rng(0).standard_normal((330, 100)).astype(np.float32)
    # More columns than are iterated, and fewer directions: both begin alike in both places, with the same random ones.
    for name, start in {"wide": wide, "empty": np.zeros((330, 9)), "same": np.ones((330, 40))}.items():
        there, _ = solve(store, tmp_path / f"{name} there", start=start)
        here, _ = solve(store, tmp_path / f"{name} here", device=None, start=start)
        np.testing.assert_array_equal(there.view(), here.view())
    values = np.linalg.eigvalsh(dense)[::-1][:20]
    x = there.view()[:, :20].astype(np.float64)
    np.testing.assert_allclose(np.einsum("nc,nm,mc->c", x, dense, x), values, atol=1e-5)
    with pytest.raises(SolverError, match="NaN or infinity"):
        solve(store, tmp_path / "c", start=np.full((330, 3), np.nan))
    with pytest.raises(SolverError, match=r"\(40.*3\)"):
        solve(store, tmp_path / "d", start=np.zeros((40, 3)))


def test_the_result_may_be_larger_than_the_memory_allowed(tmp_path):
    store, _ = stored(tmp_path / "g", "dataset")
    whole, _ = solve(store, tmp_path / "a")
    mapped, _ = solve(store, tmp_path / "b", memory_bytes=0)
    assert isinstance(mapped.view(), np.memmap) and not isinstance(whole.view(), np.memmap)
    np.testing.assert_array_equal(whole.view(), mapped.view())
    assert not list((tmp_path / "b").glob("scratch*"))


def test_a_graph_without_edges_is_refused(tmp_path):
    store = GraphStore.create(tmp_path / "g", {"nodes": 50, "rounds": 1})
    empty = Block(np.arange(50), np.zeros(51, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), None, {})
    store.write("merged/symmetric/000000", empty)
    with pytest.raises(SolverError, match="no edges"):
        solve(store, tmp_path / "w", channels=3)


def test_a_block_is_used_once_it_is_there_and_dropped_once_it_is_not_used(tmp_path, monkeypatch):
    """What streams and events of a GPU are told, by ones that take notes."""
    store, _ = stored(tmp_path / "g", "dataset")
    log = []

    class Stream:
        def wait_event(self, event):
            log.append(("computing waits", event.number))

    class Event:
        def record(self, stream):
            of_copies = stream is not computing
            self.number = sum(entry[0] == ("copied" if of_copies else "computed") for entry in log)
            log.append(("copied" if of_copies else "computed", self.number))

        def synchronize(self):
            log.append(("over", self.number))

    computing = Stream()
    module = SimpleNamespace(Stream=Stream, Event=Event, stream=torch.cpu.stream, current_stream=lambda _: computing)
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    operator = DeviceOperator(operator_of(store), CPU, 0)
    for _ in range(2):
        for _ in operator.blocks():
            log.append(("used", sum(entry[0] == "used" for entry in log)))
    at = {entry: place for place, entry in enumerate(log)}
    for k in range(10):
        assert at["copied", k] < at["computing waits", k] < at["used", k] < at["computed", k]
        assert k % 5 == 4 or at["copied", k + 1] < at["used", k]  # the next one comes meanwhile
        assert k > 6 or at["computed", k] < at["over", k] < at["copied", k + 3]  # at most three at a time


@pytest.fixture
def free(monkeypatch):
    """Say how much memory is free."""

    def say(size):
        monkeypatch.setattr(device_room, "free_bytes", lambda _: size)

    return say


def test_columns_that_do_not_fit_are_refused_with_the_numbers(tmp_path, free):
    operator = operator_of(stored(tmp_path / "g", "dataset")[0])
    needed = 4 * 3 * 330 * 24  # 6 columns are iterated as 24
    free(int(needed / device_room.COLUMNS_SHARE) + 1)
    device_room.check_room(CPU, operator, 6)
    free(int(needed / device_room.COLUMNS_SHARE) - 1)
    words = (
        r"cpu has 0\.000 GB of free memory, of which the solver's columns may take 0\.000 GB; 24 columns for 330 nodes "
        r"need 0\.000 GB; lower `channels`, or use `device=cpu`"
    )
    with pytest.raises(DeviceMemoryError, match=words):
        device_room.check_room(CPU, operator, 6)
    free(100)
    assert device_room.room_for_blocks(CPU) == 60


def test_free_memory_counts_what_torch_keeps(monkeypatch):
    gpu = torch.device("cuda", 1)
    for name, answer in {"mem_get_info": (700, 1000), "memory_reserved": 200, "memory_allocated": 50}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer if device == gpu else None)
    assert device_room.free_bytes(gpu) == 850
    assert device_room.free_bytes(CPU) > 0


def test_missing_kernels_are_named_with_the_cure(monkeypatch):
    device_room.check_kernels(CPU)
    monkeypatch.setattr(device_room, "load_cuda", lambda: "spectral_graph._CUDA was not compiled; with nvcc: pip ...")
    with pytest.raises(ConfigError, match=r"`device=cuda:1`.*_CUDA"):
        device_room.check_kernels(torch.device("cuda", 1))


def test_want_of_memory_inside_an_operator_is_torchs_own_error():
    def operator(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. (originally from aoti_torch_empty API call")

    with pytest.raises(torch.OutOfMemoryError, match=r"allocate 2\.00 GiB"):
        call(operator, 1)


def obstacle():
    return load_cuda() if torch.cuda.is_available() else "torch finds no CUDA GPU"


on_gpu = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")


@on_gpu
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("room", [1 << 40, 300_000, 0])
def test_a_gpu_finds_what_the_cpu_finds(tmp_path, monkeypatch, scope, room):
    monkeypatch.setattr(device_columns, "room_for_blocks", lambda _: room)
    store, dense = stored(tmp_path / "g", scope, nodes=2000)
    gpu = torch.device("cuda", 0)
    there, rounds = solve(store, tmp_path / "w", gpu, channels=4, tol=1e-5)
    here, others = solve(store, tmp_path / "v", None, channels=4, tol=1e-5)
    np.testing.assert_allclose(rounds[-1].ritz[:4], others[-1].ritz[:4], atol=1e-5)
    assert angle(there.view()[:, :4], here.view()[:, :4]) < 1e-3
    again, _ = solve(store, tmp_path / "u", gpu, channels=4, tol=1e-5)
    np.testing.assert_array_equal(there.view(), again.view())
    x = there.view()[:, :4].astype(np.float64)
    assert np.linalg.norm(dense @ x - x * rounds[-1].ritz[:4], axis=0).max() < 2e-5


@on_gpu
def test_a_gpu_gives_the_same_bits_whether_blocks_stay_or_pass(tmp_path, monkeypatch):
    store, _ = stored(tmp_path / "g", "dataset", nodes=2000)
    results = []
    for room in (1 << 40, 300_000, 0):
        monkeypatch.setattr(device_columns, "room_for_blocks", lambda _, room=room: room)
        results.append(solve(store, tmp_path / f"{room}", torch.device("cuda", 0))[0].view())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@on_gpu
@pytest.mark.parametrize("first", [torch.device("cuda", 0), None])
def test_a_gpu_goes_on_with_the_checkpoint_of_the_cpu_and_the_other_way_round(tmp_path, monkeypatch, first):
    monkeypatch.setattr(solver, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    store, _ = stored(tmp_path / "g", "batch")
    whole, _ = solve(store, tmp_path / "v", first, tol=1e-5, channels=4)

    def stop(result):
        raise Stop

    with pytest.raises(Stop):
        solve(store, tmp_path / "w", first, tol=1e-5, channels=4, on_round=stop)
    again, rounds = solve(store, tmp_path / "w", None if first else torch.device("cuda", 0), tol=1e-5, channels=4)
    assert rounds[-1].index > 1 and angle(whole.view()[:, :4], again.view()[:, :4]) < 1e-3
