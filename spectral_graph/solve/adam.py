"""The paper's solver: Adam on Eqn. 4, mini-batch by mini-batch, on a bank that lies on disk.

Source of the update: D. P. Kingma and J. Ba, "Adam", https://arxiv.org/abs/1412.6980 (betas 0.9 and 0.999). AdamW of
the authors' script is the same here: its weight decay is 0. Each image has its own step count for the bias correction,
because a step moves only the images of one mini-batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from spectral_graph.bank import Bank
from spectral_graph.errors import ConfigError, SolverError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.layer_grids import run_nodes
from spectral_graph.ops import adam_rows_
from spectral_graph.solve.ema import advance
from spectral_graph.solve.objective import LayerGraph, Objective, loss_and_gradient
from spectral_graph.solve.released import probabilities, released_graph, released_loss_and_gradient
from spectral_graph.solve.resample import LayerMaps
from spectral_graph.solve.streaming import normal_rows

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SECONDS_BETWEEN_CHECKPOINTS = 20.0
Objectives = Literal["paper", "released"]


@dataclass(frozen=True)
class AdamSettings:
    """How Adam goes about it.

    Attributes:
        channels: columns of X.
        steps: Adam steps in all.
        inner_steps: steps on one mini-batch before the next is taken.
        learning_rate: of Adam.
        seed: of X and of the order of the mini-batches.
        objective: "paper": Eqn. 4; "released": as the authors' script computes it.
        ema: decay of the moving average of the bank, one step a mini-batch; 0 for none. With it, the average is the
            solution.
    """

    channels: int
    steps: int
    inner_steps: int
    learning_rate: float
    seed: int
    objective: Objectives = "paper"
    ema: float = 0.0

    def __post_init__(self) -> None:
        """Raise ConfigError unless there is such an objective."""
        if self.objective not in get_args(Objectives):
            known = ", ".join(get_args(Objectives))
            raise ConfigError(f"`objective={self.objective!r}`: there is no such objective; give one of {known}")

    @property
    def visits(self) -> int:
        """How often a mini-batch is visited in all."""
        return -(-self.steps // self.inner_steps)

    def steps_after(self, visits: int) -> int:
        """Return the number of steps done after that many visits."""
        return min(visits * self.inner_steps, self.steps)


def visit_order(batches: int, visits: int, seed: int) -> list[int]:
    """Return which mini-batch is visited when: all of them once in a seeded order, then again in another."""
    order: list[int] = []
    epoch = 0
    while len(order) < visits:
        order += np.random.Generator(np.random.Philox(key=(seed, epoch))).permutation(batches).tolist()
        epoch += 1
    return order[:visits]


def open_state(work: str | Path, nodes: int, nodes_per_image: int, settings: AdamSettings) -> tuple[Bank, str]:
    """Take up the working state of an interrupted call, or start a new one.

    Args:
        work: its folder.
        nodes: N.
        nodes_per_image: rows of an image.
        settings: of the solver.

    Returns:
        The state: arrays X, m, v and ema (with `settings.ema`); for each image its step count and the visit up to which
        its average is known; notes `visits` and `history`. And what was damaged in it, empty if nothing.

    Raises:
        FormatError: it is damaged, and no earlier generation is left.
    """
    work = Path(work)
    if Bank.exists(work):
        return Bank.recover(work)
    names = ("X", "m", "v", "ema") if settings.ema else ("X", "m", "v")
    state = Bank(work, (nodes, settings.channels), names, nodes_per_image, counters=("steps", "averaged"))
    arrays = state.begin()
    normal_rows(arrays["X"], settings.seed, 3)
    if settings.ema:
        normal_rows(arrays["ema"], settings.seed, 3)
    state.commit(visits=0, history=[])
    return state, ""


def adam(
    store: GraphStore,
    layers: Sequence[str],
    batches: Sequence[str],
    state: Bank,
    settings: AdamSettings,
    on_visit: Callable[[int, Objective], None],
) -> None:
    """Minimise Eqn. 4, from the state on to the last step.

    Args:
        store: the graph.
        layers: its layers.
        batches: ids of the mini-batches; the block of layer l and mini-batch b is "blocks/<l>/<b>".
        state: from `open_state`; committed every now and then, and at the end.
        settings: of the solver.
        on_visit: called after each visit of a mini-batch, with the steps done and the objective at its last step.

    Raises:
        SolverError: X has left the finite numbers.
    """
    order = visit_order(len(batches), settings.visits, settings.seed)
    done: int = state.notes["visits"]
    history: list[dict[str, float]] = list(state.notes["history"])
    names = [f"blocks/{layer}/{{}}" for layer in layers]
    maps = LayerMaps(store.attributes, layers)
    saved = time.monotonic()
    drafted = False
    members: dict[int, np.ndarray] = {}
    for visit in range(done, settings.visits):
        if not drafted:
            state.revise()
            drafted = True
        blocks = [store.read(name.format(batches[order[visit]])) for name in names]
        by_layer = dict(zip(layers, blocks, strict=True))
        members[order[visit]] = images = _images_of(by_layer, maps, state.nodes_per_image)
        if visit + 1 < settings.visits and order[visit + 1] in members:
            state.prefetch(members[order[visit + 1]])
        graphs = _graphs(by_layer, maps, settings, len(images), state.nodes_per_image)
        objective = _visit(graphs, images, state, settings, visit)
        at = settings.steps_after(visit + 1)
        history.append({"step": at, **asdict(objective)})
        on_visit(at, objective)
        if visit + 1 == settings.visits or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            state.commit(visits=visit + 1, history=history)
            saved, drafted = time.monotonic(), False


def _graphs(
    blocks: Mapping[str, Block], maps: LayerMaps, settings: AdamSettings, images: int, nodes_per_image: int
) -> list[LayerGraph]:
    """Return the graphs of a mini-batch, whose blocks are given by layer."""
    graphs = []
    for layer, block in blocks.items():
        resample = maps.batch_map(layer, images)
        if settings.objective == "paper":
            graphs.append(LayerGraph.of(block, resample=resample))
        else:
            g = maps.image_map(layer)
            graphs.append(released_graph(block, nodes_per_image if g is None else g.shape[0], resample))
    return graphs


def _visit(
    graphs: Sequence[LayerGraph], images: np.ndarray, state: Bank, settings: AdamSettings, visit: int
) -> Objective:
    """Take the inner steps on one mini-batch and write its rows back."""
    evaluate = loss_and_gradient if settings.objective == "paper" else released_loss_and_gradient
    values = {name: state.read(images, name=name) for name in state.names}
    before = values["X"].copy() if settings.ema else values["X"]
    x, m, v = (torch.from_numpy(values[name]) for name in ("X", "m", "v"))
    objective = None
    for _ in range(settings.steps_after(visit + 1) - settings.steps_after(visit)):
        state.records["steps"][images] += 1
        counts = np.repeat(state.records["steps"][images], state.nodes_per_image)
        objective, gradient = evaluate(graphs, x)
        if not np.isfinite(objective.loss):
            raise SolverError(
                f"adam: the loss became {objective.loss} at mini-batch visit {visit}; lower `learning_rate`"
            )
        adam_rows_(x, m, v, gradient, torch.from_numpy(counts), settings.learning_rate, BETA1, BETA2, EPSILON)
    assert objective is not None
    if settings.ema:
        skipped = visit - state.records["averaged"][images]
        ema = advance(values["ema"], before, skipped, settings.ema)
        values["ema"] = advance(ema, values["X"], np.ones(len(images)), settings.ema)
        state.records["averaged"][images] = visit + 1
    for name, rows in values.items():
        state.write(images, rows, name)
    return objective


def _images_of(blocks: Mapping[str, Block], maps: LayerMaps, nodes_per_image: int) -> np.ndarray:
    """Return the images of a mini-batch, ascending."""
    if any(block.columns is not None for block in blocks.values()):
        raise SolverError(
            "adam: Eqn. 4 is taken over mini-batches, but this graph spans the data set; build it with `scope=batch`, "
            "or use `solver=chebyshev`"
        )
    images = np.empty(0, np.int64)
    for number, (layer, block) in enumerate(blocks.items()):
        rows = run_nodes(block.rows, maps.image_map(layer))
        if number == 0:
            images = rows[::nodes_per_image] // nodes_per_image
        whole = (images[:, None] * nodes_per_image + np.arange(nodes_per_image)).reshape(-1)
        if not np.array_equal(rows, whole):
            raise SolverError(
                f"adam: the graph block of layer {layer} has {len(block.rows)} nodes, which are not those of the "
                f"{len(images)} images of the mini-batch; recompute with `force=graph`"
            )
    return images


def solution(state: Bank, settings: AdamSettings, start: int, stop: int) -> np.ndarray:
    """Return the rows of images start..stop that the solver found, ((stop - start) * nodes_per_image, C) float32.

    X itself; its moving average, brought up to the last visit; and of logits the probabilities.
    """
    rows = state.read(start, stop)
    if settings.ema:
        missing = state.notes["visits"] - state.records["averaged"][start:stop]
        rows = advance(state.read(start, stop, name="ema"), rows, missing, settings.ema)
    if settings.objective == "released":
        rows = probabilities(torch.from_numpy(rows)).numpy()
    return rows
