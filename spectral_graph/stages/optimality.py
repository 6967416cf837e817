"""Stage `solve`, its last step: how good is what the solver found?"""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_graph.graph.operator import BlockOperator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.optimality import Exact, measure
from spectral_graph.stages.context import Context, graph_of
from spectral_graph.stages.operator import operator_of
from spectral_graph.stages.solver_device import solver_device

LARGEST_EXACT = 1 << 20
"""Numbers in X (nodes times channels) up to which `--optimality auto` solves Eqn. 3 exactly for comparison."""


def wants_exact(context: Context, table: ImageTable) -> bool:
    """Return whether the exact solution is to be computed for comparison."""
    config = context.config
    small = config.channels <= table.nodes and table.nodes * config.channels <= LARGEST_EXACT
    return config.optimality == "angles" or (config.optimality == "auto" and small)


def judge(
    context: Context, table: ImageTable, kind: str, operator: BlockOperator, x: np.ndarray, notes: dict[str, Any]
) -> dict[str, Any]:
    """Return the measures of a solution for the notes of its bank.

    The value of Eqn. 3 is summed over the graphs of the layers; only an exact solution to compare with needs them
    merged by `random_walk`.

    Args:
        context: of the run.
        table: its images.
        kind: the affinity.
        operator: its merged operator, with the normalisation of the run.
        x: (N, C) the solution; of its rows those that this process holds.
        notes: of the solver; its eigenvalues are the optimum where it has solved Eqn. 3 itself.
    """
    config, comm = context.config, context.comm
    form = random_walk_form(graph_of(context, table, kind), table.layers, operator, x)
    if config.normalisation == "random_walk" and "eigenvalues" in notes:
        return measure(x, form, comm).as_notes() | {"optimum": float(np.mean(notes["eigenvalues"]))}
    if not wants_exact(context, table):
        return measure(x, form, comm).as_notes()
    context.reporter.note("optimality: solving Eqn. 3 exactly for comparison")
    work = context.run.folder(kind) / "solve"
    walk = operator if config.normalisation == "random_walk" else operator_of(context, table, kind, work, "random_walk")
    with solver_device(context, walk, "optimality") as device:
        found, rounds = chebyshev(
            walk,
            work / "exact",
            ChebyshevSettings.of(config),
            table.nodes_per_image,
            lambda _: None,
            device=device,
        )
    residual = float(rounds[-1].residuals[: config.channels].max())
    if residual > config.tol:
        context.reporter.note(
            f"optimality: the solution to compare with has a residual of {residual:.1e} after {len(rounds)} rounds, "
            f"above `tol={config.tol:.0e}`; raise `max_rounds` or `degree`"
        )
    exact = Exact(found.x[:, : config.channels], rounds[-1].ritz[: config.channels])
    return measure(x, form, comm, exact).as_notes()
