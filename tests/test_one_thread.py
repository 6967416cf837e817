"""BLAS is limited to one thread around single calls only, and the setting of the caller is restored."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from spectral_graph.config import make_config
from spectral_graph.embed import build_graph
from spectral_graph.one_thread import one_blas_thread, one_thread
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev


def blas_threads():
    """The settings that belong to the process; that of a BLAS over OpenMP (in FAISS) belongs to each thread."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return [library["num_threads"] for library in libraries if library.get("threading_layer") != "openmp"]


@pytest.fixture(autouse=True)
def two_threads():
    np.linalg.eigh(np.eye(3))
    with threadpool_limits(limits=2, user_api="blas"):
        assert set(blas_threads()) == {2}
        yield


@pytest.mark.parametrize("limit", [one_blas_thread, one_thread])
def test_the_limit_holds_inside_and_ends_outside(limit):
    with limit():
        assert set(blas_threads()) == {1}
        with limit():
            pass
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}
    with pytest.raises(KeyboardInterrupt), limit():
        raise KeyboardInterrupt
    assert set(blas_threads()) == {2}


@pytest.mark.parametrize("limit", [one_blas_thread, one_thread])
def test_limits_of_two_threads_of_python_that_overlap(limit):
    """The first thread leaves first: it must not end the limit of the second, nor may the limit stay afterwards."""
    entered, leave, seen = threading.Event(), threading.Event(), []

    def second():
        with limit():
            entered.set()
            leave.wait(10)
            seen.append(blas_threads())

    with limit():
        other = threading.Thread(target=second)
        other.start()
        assert entered.wait(10)
    assert set(blas_threads()) == {1}
    leave.set()
    other.join()
    assert set(seen[0]) == {1} and set(blas_threads()) == {2}


def test_the_solver_holds_no_limit_while_the_caller_runs(tmp_path):
    rows = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    config, seen = make_config({"channels": 4, "tol": 1e-3, "c_intra": 3, "c_inter": 3, "neighbours": "exact"}), []
    operator = build_graph([(rows,)], None, config, tmp_path).operator
    chebyshev(
        operator, tmp_path / "w", ChebyshevSettings(4, 1e-3, 20, 30, 0), 1, lambda _: seen.append(set(blas_threads()))
    )
    assert seen and all(threads == {2} for threads in seen)
    assert set(blas_threads()) == {2}
