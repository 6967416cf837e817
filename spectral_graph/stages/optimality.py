"""Stage `solve`, its last step: how good is what the solver found?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.graph.operator import BlockOperator
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.chebyshev import chebyshev
from spectral_graph.solve.optimality import Exact, measure
from spectral_graph.stages.context import Context
from spectral_graph.stages.solver_device import solver_device

LARGEST_EXACT = 1 << 20
"""Numbers in X (nodes times channels) up to which `--optimality auto` solves Eqn. 3 exactly for comparison."""


def wants_exact(context: Context, table: ImageTable) -> bool:
    """Tell whether the exact solution is to be computed for comparison."""
    config = context.config
    small = config.channels <= table.nodes and table.nodes * config.channels <= LARGEST_EXACT
    return config.optimality == "angles" or (config.optimality == "auto" and small)


def judge(
    context: Context, table: ImageTable, operator: BlockOperator, x: np.ndarray, work: Path, eigenvalues: Any = None
) -> dict[str, Any]:
    """Return the measures of a solution for the notes of its bank.

    Args:
        context: of the run.
        table: its images.
        operator: the merged operator with normalisation `random_walk`.
        x: (N, C) the solution; of its rows those that this process holds.
        work: folder for working space.
        eigenvalues: of `operator`, (C,), where the solution is its exact one; then nothing is computed to compare with.
    """
    config = context.config
    if eigenvalues is not None:
        return measure(operator, x, work).as_notes() | {"optimum": float(np.mean(eigenvalues))}
    if not wants_exact(context, table):
        return measure(operator, x, work).as_notes()
    context.reporter.note("optimality: solving Eqn. 3 exactly for comparison")
    with solver_device(context, operator, "optimality") as device:
        found, rounds = chebyshev(
            operator,
            work / "exact",
            config.channels,
            table.nodes_per_image,
            config.tol,
            config.degree,
            config.max_rounds,
            config.seed,
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
    return measure(operator, x, work, exact).as_notes()
