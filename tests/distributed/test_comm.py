"""The communicator, with real processes on this machine."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_work import everything, in_processes, one_fails, result_of

from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.distributed.join import global_rank, join_comm
from spectral_graph.errors import ConfigError, FormatError, LostProcessError

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.mark.parametrize("size", [2, 3])
def test_every_operation_with_real_processes(size):
    found = result_of(in_processes(size, everything))
    numbers = [0.1, 1e16, 1.0]
    expected = np.zeros(3)
    for rank in range(size):
        expected = expected + np.array(numbers[rank % 3 :] + numbers[: rank % 3])
    for rank, (is_rank0, gathered, total, single, root, into, sent, agreed, folder, mine) in enumerate(found):
        assert is_rank0 == (rank == 0)
        np.testing.assert_array_equal(np.stack(gathered), [[[peer, 2.5]] for peer in range(size)])
        np.testing.assert_array_equal(total, expected)  # bit by bit: added in the order of the ranks
        assert float(single) == sum(range(size))
        np.testing.assert_array_equal(root, [7, 1])
        for peer in range(size):
            np.testing.assert_array_equal(into[peer], np.full((rank + peer, 2), 10 * peer + rank))
        assert sent == sum(8 * (rank + peer) for peer in range(size) if peer != rank)
        assert agreed == (True, False)
        assert folder == Path(f"x/rank-{rank}-of-{size}")
        assert mine == range(10 * rank // size, 10 * (rank + 1) // size)


def test_an_error_in_one_process_names_it_and_ends_the_others():
    began = time.monotonic()
    first, second = in_processes(2, one_fails)
    assert time.monotonic() - began < 20
    assert isinstance(second, FormatError) and str(second) == "process 1 of 2: block 7 is damaged"
    assert isinstance(first, LostProcessError) and str(first).startswith("process 0 of 2: ")


@given(count=st.integers(0, 300), size=st.integers(1, 20))
def test_ranges_are_contiguous_complete_and_equal(count, size):
    comm = Comm()
    comm.size = size
    parts = [comm.owned(count, rank) for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_is_alone_and_sends_nothing():
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}):
        with join_comm(environment) as comm:
            assert comm is ONE_PROCESS
    array = np.arange(3.0)
    assert (
        ONE_PROCESS.sum(array) is array
        and ONE_PROCESS.gather(array)[0] is array
        and ONE_PROCESS.broadcast(array) is array
    )
    assert ONE_PROCESS.agree(True) and not ONE_PROCESS.agree(False) and ONE_PROCESS.is_rank0
    ONE_PROCESS.exchange([array], [array])
    ONE_PROCESS.barrier()
    assert ONE_PROCESS.sent == 0 and ONE_PROCESS.folder(Path("x")) == Path("x") and ONE_PROCESS.mine(5) == range(5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE.*two"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE.*0"),
        ({"MASTER_PORT": ""}, "MASTER_PORT"),
        ({"SPECTRAL_GRAPH_BACKEND": "mpi"}, "SPECTRAL_GRAPH_BACKEND.*mpi"),
        ({"SPECTRAL_GRAPH_BACKEND": "nccl", "LOCAL_RANK": "99"}, "nccl.*process 99"),
    ],
)
def test_a_wrong_environment_is_named(change, message):
    with pytest.raises(ConfigError, match=message), join_comm({**TORCHRUN, **change}):
        pass


def test_global_rank_is_that_of_torchrun():
    assert global_rank({}) == 0
    assert global_rank(TORCHRUN) == 1
    assert global_rank({"RANK": "3"}) == 0
