"""Stage `solve` with the paper's solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.adam import AdamSettings, adam, open_state, solution
from spectral_graph.solve.objective import Objective
from spectral_graph.stages.context import Context, graph_of


def solve_by_adam(
    context: Context, table: ImageTable, kind: str
) -> tuple[Callable[[int, int], np.ndarray], dict[str, Any]]:
    """Run Adam on one affinity; an interrupted run resumes from its last checkpoint.

    Returns:
        The reader of the solution's rows, by images start..stop, and the notes for the bank.
    """
    config = context.config
    settings = AdamSettings(
        config.channels,
        config.steps,
        config.inner_steps,
        config.learning_rate,
        config.seed,
        config.objective,
        config.ema,
    )
    store = graph_of(context, table, kind)
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{table.layers[0]}")]
    work = context.run.folder(kind) / "solve"
    state, damage = open_state(work, table.nodes, table.nodes_per_image, settings)
    if damage:
        context.reporter.note(f"solve {kind}: {damage}")
    before = settings.steps_after(state.notes["visits"])
    with context.reporter.track(f"solve {kind}", config.steps, "steps", before) as progress:
        last = [before]

        def show(step: int, _: Objective) -> None:
            progress.advance(step - last[0])
            last[0] = step

        adam(store, table.layers, ids, state, settings, show)
    notes = {"objective": config.objective, "ema": config.ema, "history": state.notes["history"]}
    return lambda start, stop: solution(state, settings, start, stop), notes
