"""The solver `chebyshev` within stage `solve`: its options, what it says while it works, what is noted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from spectral_graph.features.device import describe_device
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.chebyshev import ChebyshevSettings, Eigenvectors, Round, chebyshev
from spectral_graph.solve.signs import column_signs, largest_entries
from spectral_graph.solve.streaming import chunks
from spectral_graph.stages.context import Context
from spectral_graph.stages.solver_device import solver_device
from spectral_graph.stages.warm_start import warm_start


def solve_by_chebyshev(
    context: Context, table: ImageTable, kind: str, operator: BlockOperator
) -> tuple[Callable[[int, int], np.ndarray], dict[str, Any]]:
    """Compute the eigenvectors of one affinity.

    Args:
        context: of the run.
        table: its images.
        kind: the affinity.
        operator: its merged operator.

    Returns:
        A function that returns the rows of the images start..stop, and what is to be noted beside the bank.
    """
    config = context.config
    work = context.run.folder(kind) / "solve"

    def show(result: Round) -> None:
        residuals = result.residuals[: config.channels]
        filtered = f"degree {result.degree} on {result.filtered} columns" if result.degree else "warm start"
        if result.dense:
            filtered = "dense matrix"
        context.reporter.note(
            f"solve {kind}: round {result.index}, {filtered}: {int((residuals <= config.tol).sum())} of "
            f"{config.channels} converged, largest residual {residuals.max():.1e} (goal {config.tol:.0e})"
        )

    with (
        solver_device(context, operator, f"solve {kind}") as device,
        warm_start(context, table, kind, work) as start,
    ):
        found, rounds = chebyshev(
            operator,
            work,
            ChebyshevSettings.of(config),
            table.nodes_per_image,
            show,
            start,
            device=device,
        )
    residuals = rounds[-1].residuals[: config.channels]
    converged = bool(residuals.max() <= config.tol)
    if not converged:
        context.reporter.note(
            f"solve {kind}: not converged: residual {residuals.max():.1e} after {len(rounds)} rounds; "
            "raise `max_rounds` or `degree`, or accept it with a larger `tol`"
        )
    notes = {
        "eigenvalues": rounds[-1].ritz[: config.channels].tolist(),
        "residuals": residuals.tolist(),
        "converged": converged,
        "device": describe_device(device or torch.device("cpu")),
        "history": [{"step": r.index, "residual": float(r.residuals[: config.channels].max())} for r in rounds],
    }
    signs = _signs(context, found)
    return lambda start, stop: found.read(start, stop)[:, : config.channels] * signs, notes


def _signs(context: Context, found: Eigenvectors) -> np.ndarray:
    """Return (C,) float32 1 or -1: the sign of each eigenvector's entry of largest magnitude."""
    width = context.config.channels
    parts = (found.x[rows, :width] for rows in chunks(len(found.x)))
    return column_signs(largest_entries(parts, np.zeros(width)), context.comm).astype(np.float32)
