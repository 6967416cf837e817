"""The paper's solver: Adam on Eqn. 4, mini-batch by mini-batch, on a bank that lies on disk.

Source of the update: D. P. Kingma and J. Ba, "Adam", https://arxiv.org/abs/1412.6980 (betas 0.9 and 0.999).
Each image has its own step count for the bias correction, because a step moves only the images of one mini-batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from spectral_graph.bank import Bank
from spectral_graph.errors import SolverError
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.ops import adam_rows_
from spectral_graph.solve.objective import LayerGraph, Objective, loss_and_gradient
from spectral_graph.solve.streaming import normal_rows

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SECONDS_BETWEEN_CHECKPOINTS = 20.0


def visit_order(batches: int, visits: int, seed: int) -> list[int]:
    """Return which mini-batch is visited when: all of them once in a seeded order, then again in another."""
    order: list[int] = []
    epoch = 0
    while len(order) < visits:
        order += np.random.Generator(np.random.Philox(key=(seed, epoch))).permutation(batches).tolist()
        epoch += 1
    return order[:visits]


def adam(
    store: GraphStore,
    layers: Sequence[str],
    batches: Sequence[str],
    nodes: int,
    work: Path,
    channels: int,
    nodes_per_image: int,
    steps: int,
    inner_steps: int,
    learning_rate: float,
    seed: int,
    on_visit: Callable[[int, Objective], None],
) -> tuple[Bank, list[dict[str, float]]]:
    """Minimise Eqn. 4.

    Args:
        store: the graph.
        layers: its layers.
        batches: ids of the mini-batches; the block of layer l and mini-batch b is "blocks/<l>/<b>".
        nodes: N.
        work: folder of the working state; an interrupted call goes on from its last checkpoint.
        channels: columns of X.
        nodes_per_image: rows of an image.
        steps: Adam steps in all.
        inner_steps: steps on one mini-batch before the next is taken.
        learning_rate: of Adam.
        seed: of X and of the order of the mini-batches.
        on_visit: called after each visit of a mini-batch, with the steps done and the last objective.

    Returns:
        The bank with arrays X, m and v, and the history: one entry a visit.

    Raises:
        SolverError: X has left the finite numbers.
    """
    visits = -(-steps // inner_steps)
    if Bank.exists(work):
        bank = Bank.open(work)
    else:
        bank = Bank(work, (nodes, channels), ("X", "m", "v"), nodes_per_image)
        normal_rows(bank.begin()["X"], seed, 3)
        bank.commit(visits=0, history=[])
    done: int = bank.notes["visits"]
    history: list[dict[str, float]] = list(bank.notes["history"])
    order = visit_order(len(batches), visits, seed)
    counts = np.zeros(nodes, np.int64)
    for visit in range(done):
        counts[store.read(f"blocks/{layers[0]}/{batches[order[visit]]}").rows] += min(
            inner_steps, steps - visit * inner_steps
        )
    arrays = bank.begin(copy=True)
    saved = time.monotonic()
    for visit in range(done, visits):
        blocks = [store.read(f"blocks/{layer}/{batches[order[visit]]}") for layer in layers]
        rows = blocks[0].rows
        graphs = [LayerGraph.of(block) for block in blocks]
        x, m, v = (torch.from_numpy(arrays[name][rows]) for name in ("X", "m", "v"))
        objective = None
        for _ in range(min(inner_steps, steps - visit * inner_steps)):
            counts[rows] += 1
            objective, gradient = loss_and_gradient(graphs, x)
            if not np.isfinite(objective.loss):
                raise SolverError(
                    f"adam: the loss became {objective.loss} at mini-batch visit {visit}; lower --learning-rate"
                )
            adam_rows_(x, m, v, gradient, torch.from_numpy(counts[rows]), learning_rate, BETA1, BETA2, EPSILON)
        assert objective is not None
        for name, value in zip(("X", "m", "v"), (x, m, v), strict=True):
            arrays[name][rows] = value.numpy()
        at = min((visit + 1) * inner_steps, steps)
        history.append({"step": at, **asdict(objective)})
        on_visit(at, objective)
        if visit + 1 == visits or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            bank.commit(visits=visit + 1, history=history)
            if visit + 1 < visits:
                arrays = bank.begin(copy=True)
            saved = time.monotonic()
    return bank, history
