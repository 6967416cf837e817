"""Processes that join a Comm as those of `torchrun` do, and the functions that tests run in them."""

import itertools
import multiprocessing
import os
import socket
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix

from spectral_graph.bank import Bank
from spectral_graph.distributed.join import join_comm
from spectral_graph.distributed.shared_bank import commit_together
from spectral_graph.errors import FormatError
from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.local_operator import LocalOperator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.solve import chebyshev as solver
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev, rayleigh_quotients
from spectral_graph.solve.optimality import measure
from spectral_graph.solve.orthogonalise import orthogonalise

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["torch.distributed", "timm", "spectral_graph.pipeline", "spectral_graph.solve.chebyshev"]
)


def in_processes(size, function, *arguments):
    """Call function(comm, *arguments) in `size` joined processes; return the results, or what they raised, by rank."""
    return with_environment(size, _joined, function, *arguments)


def with_environment(size, function, *arguments):
    """Call function(*arguments) in `size` processes that `torchrun` might have started; return the same."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    queue = PROCESSES.Queue()
    workers = [
        PROCESSES.Process(target=_work, args=(rank, size, port, function, arguments, queue)) for rank in range(size)
    ]
    for worker in workers:
        worker.start()
    try:
        found = dict(queue.get(timeout=60) for _ in workers)
    finally:
        for worker in workers:
            worker.join(10)
            worker.kill()
    return [found[rank] for rank in range(size)]


def _work(rank, size, port, function, arguments, queue):
    torch.set_num_threads(1)
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    try:
        result = function(*arguments)
    except Exception as error:
        traceback.print_exc()
        result = error
    queue.put((rank, result))


def _joined(function, *arguments):
    with join_comm() as comm:
        return function(comm, *arguments)


def result_of(outcomes):
    """Return the results, or raise the first error."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return outcomes


def store_graph(path, dense, blocks=3, per_image=1):
    """Store a symmetric matrix as the graph stage of scope `dataset` does: ranges of rows with local columns."""
    nodes = len(dense)
    store = GraphStore.create(path, {"nodes": nodes, "rounds": 1, "nodes_per_image": per_image})
    bounds = np.arange(blocks + 1) * (nodes // per_image) // blocks * per_image
    for index, (begin, end) in enumerate(itertools.pairwise(bounds)):
        rows = csr_matrix(dense[begin:end].astype(np.float32))
        columns, places = local_columns(rows.indices, nodes)
        parts = rows.indptr.astype(np.int64), places, rows.data
        store.write(f"merged/symmetric/{index:06d}", Block(np.arange(begin, end), *parts, None, {}, columns))
        degree = dense[begin:end].sum(axis=1).astype(np.float32)
        store.write(f"blocks/a/{index:06d}", Block(np.arange(begin, end), *parts, degree, {}, columns))
    return store


def store_batches(path, nodes, per_image, seed=0):
    """Store a random graph as scope `batch` does: square blocks on scattered images, each in two; return it dense."""
    generator = np.random.default_rng(seed)
    images = nodes // per_image
    dense = np.zeros((nodes, nodes))
    store = GraphStore.create(path, {"nodes": nodes, "rounds": 2, "nodes_per_image": per_image})
    parts = [np.arange(images)[i::2] for i in range(2)] + np.array_split(np.arange(images), 2)
    for index, part in enumerate(parts):
        rows = (part[:, None] * per_image + np.arange(per_image)).reshape(-1)
        inner = random_graph(len(rows), generator)
        a = csr_matrix(inner.astype(np.float32))
        block = Block(rows, a.indptr.astype(np.int64), a.indices, a.data, None, {})
        store.write(f"merged/symmetric/{index:06d}", block)
        store.write(f"blocks/a/{index:06d}", replace(block, degree=inner.sum(axis=1).astype(np.float32)))
        dense[np.ix_(rows, rows)] += inner / 2
    return store, dense


def random_graph(nodes, generator, groups=5):
    """Return a normalised adjacency (nodes, nodes) of weakly joined groups."""
    member = generator.integers(0, groups, nodes)
    chance = np.where(member[:, None] == member, 0.4, 0.02)
    upper = np.triu(generator.random((nodes, nodes)) < chance, 1) * generator.uniform(0.2, 1, (nodes, nodes))
    a = upper + upper.T
    root = 1 / np.sqrt(np.maximum(a.sum(axis=1), 1e-9))
    return root[:, None] * a * root


def operator_of(comm, path, work):
    store = GraphStore.open(path)
    names, about = store.names("merged/symmetric"), store.attributes
    return LocalOperator(store, names, about["nodes"], about["rounds"], about["nodes_per_image"], comm, work)


def multiply(comm, path, work, x):
    operator = operator_of(comm, path, work)
    own = np.ascontiguousarray(x[operator.rows.start : operator.rows.stop])
    before = comm.sent
    return operator.rows, operator @ own, comm.sent - before


class Stop(Exception):
    pass


def solve(comm, path, work, channels, rounds=40, stop_after=None, start=None):
    """Solve, and measure the solution; with `stop_after` rounds, raise Stop once they are saved."""
    operator = operator_of(comm, path, work)
    if stop_after is not None:
        solver.SECONDS_BETWEEN_CHECKPOINTS = -1.0

    def on_round(result):
        if result.index == stop_after:
            raise Stop

    first = None if start is None else np.ascontiguousarray(start[operator.rows.start : operator.rows.stop])
    per_image = GraphStore.open(path).attributes["nodes_per_image"]
    found, done = chebyshev(
        operator, Path(work), ChebyshevSettings(channels, 1e-5, 3, rounds, 0), per_image, on_round, first
    )
    x = np.ascontiguousarray(found.view()[:, :channels])
    quotients = rayleigh_quotients(operator, x, work)
    value = measure(x, comm.sum(x.T.astype(np.float64) @ (operator @ x)), comm).value
    return x, done[-1].ritz[:channels], quotients, value, len(done)


def walk_form(comm, path, work, x):
    operator = operator_of(comm, path, work)
    own = np.ascontiguousarray(x[operator.rows.start : operator.rows.stop])
    return random_walk_form(GraphStore.open(path), ["a"], operator, own)


def make_orthogonal(comm, path, work, bank, target, order):
    source = Bank.open(bank, verify=False)
    result = Bank(target, source.shape, ("X",), source.nodes_per_image, source.dtype)
    found = orthogonalise(source, result, order, operator_of(comm, path, work).apply, work, comm)
    commit_together(result, comm)
    return found.eigenvalues, found.off_diagonal, result.generation, Bank.open(target).view().copy()


def everything(comm):
    """Use each method of Comm once."""
    rank, size = comm.rank, comm.size
    gathered = comm.gather(np.array([[rank, 2.5]], np.float32))
    total = comm.sum(np.array([0.1, 1e16, 1.0][rank % 3 :] + [0.1, 1e16, 1.0][: rank % 3]))
    single = comm.sum(np.float64(rank))
    root = comm.broadcast(np.array([rank + 7, 1]))
    out = [np.full((rank + peer, 2), 10 * rank + peer, np.float32) for peer in range(size)]
    into = [np.empty((rank + peer, 2), np.float32) for peer in range(size)]
    before = comm.sent
    comm.exchange(out, into)
    sent = comm.sent - before
    into[rank][:] = out[rank]
    comm.barrier()
    agreed = comm.agree(rank == 0), comm.agree(rank != 0)
    return comm.is_rank0, gathered, total, single, root, into, sent, agreed, comm.folder(Path("x")), comm.mine(10)


def one_fails(comm):
    """The last process raises, the others wait for it."""
    if comm.rank == comm.size - 1:
        raise FormatError("block 7 is damaged")
    comm.barrier()
