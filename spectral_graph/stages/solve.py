"""Stages `solve` and `orthogonalise`: graph to eigenvector bank to orthogonal bank."""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.files import remove
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.orthogonalise import orthogonalise
from spectral_graph.solve.adam import adam
from spectral_graph.solve.chebyshev import Round, chebyshev, rayleigh_quotients
from spectral_graph.solve.objective import Objective
from spectral_graph.solve.streaming import chunks
from spectral_graph.stages.context import Context, ImageTable, table_of


def solve(context: Context) -> None:
    """Write `<kind>/bank` for every affinity."""
    table = table_of(context)
    for kind in context.config.kinds:
        if not Bank.exists(context.run.folder(kind) / "bank"):
            _solve_kind(context, table, kind)


def operator_of(context: Context, kind: str) -> BlockOperator:
    """Return the merged operator of one affinity; missing merged blocks are written first."""
    config = context.config
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    layers: list[str] = store.attributes["layers"]
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    todo = [i for i in ids if not store.has(f"merged/{config.normalisation}/{i}")]
    with context.reporter.track(f"merge {kind}", len(ids), "blocks", len(ids) - len(todo)) as progress:
        for i in todo:
            blocks = [store.read(f"blocks/{layer}/{i}") for layer in layers]
            store.write(f"merged/{config.normalisation}/{i}", merge_layers(blocks, config.normalisation))
            progress.advance()
    return merged_operator(store, config.normalisation)


def _solve_kind(context: Context, table: ImageTable, kind: str) -> None:
    config, folder = context.config, context.run.folder(kind)
    work = folder / "solve"
    operator = operator_of(context, kind)
    if config.solver == "chebyshev":
        state, notes = _chebyshev(context, table, kind, operator)
    else:
        state, notes = _adam(context, table, kind)
    bank = Bank(folder / "bank", (table.nodes, config.channels), ("X",), table.nodes_per_image)
    out, source = bank.begin()["X"], state.view()
    for rows in chunks(table.nodes):
        out[rows] = source[rows, : config.channels]
    quotients = rayleigh_quotients(operator, out, work)
    bank.commit(solver=config.solver, grid=list(table.grid), rayleigh_quotients=quotients.tolist(), **notes)
    remove(work)


def _chebyshev(context: Context, table: ImageTable, kind: str, operator: BlockOperator) -> tuple[Bank, dict[str, Any]]:
    config = context.config

    def show(result: Round) -> None:
        worst = result.residuals[: config.channels].max()
        context.reporter.note(
            f"solve {kind}: round {result.index}, largest residual {worst:.1e} (goal {config.tol:.0e})"
        )

    bank, rounds = chebyshev(
        operator,
        context.run.folder(kind) / "solve",
        config.channels,
        table.nodes_per_image,
        config.tol,
        config.degree,
        config.max_rounds,
        config.seed,
        show,
    )
    residuals = rounds[-1].residuals[: config.channels]
    converged = bool(residuals.max() <= config.tol)
    if not converged:
        context.reporter.note(
            f"solve {kind}: not converged: residual {residuals.max():.1e} after {len(rounds)} rounds; "
            "raise --max-rounds or --degree, or accept it with a larger --tol"
        )
    history = [{"step": r.index, "residual": float(r.residuals[: config.channels].max())} for r in rounds]
    notes = {
        "eigenvalues": rounds[-1].ritz[: config.channels].tolist(),
        "residuals": residuals.tolist(),
        "converged": converged,
        "history": history,
    }
    return bank, notes


def _adam(context: Context, table: ImageTable, kind: str) -> tuple[Bank, dict[str, Any]]:
    config = context.config
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{table.layers[0]}")]
    work = context.run.folder(kind) / "solve"
    before = 0
    if Bank.exists(work):
        before = min(Bank.open(work, verify=False).notes["visits"] * config.inner_steps, config.steps)
    with context.reporter.track(f"solve {kind}", config.steps, "steps", before) as progress:
        last = [before]

        def show(step: int, _: Objective) -> None:
            progress.advance(step - last[0])
            last[0] = step

        bank, history = adam(
            store,
            table.layers,
            ids,
            table.nodes,
            work,
            config.channels,
            table.nodes_per_image,
            config.steps,
            config.inner_steps,
            config.learning_rate,
            config.seed,
            show,
        )
    return bank, {"history": history}


def orthogonalise_banks(context: Context) -> None:
    """Write `<kind>/ortho` for every affinity (Eqn. 8)."""
    config, table = context.config, table_of(context)
    order = config.order if config.order != "auto" else ("ritz" if config.solver == "chebyshev" else "gram")
    with context.reporter.track("orthogonalise", len(config.kinds), "banks") as progress:
        for kind in config.kinds:
            folder = context.run.folder(kind)
            if not Bank.exists(folder / "ortho"):
                source = Bank.open(folder / "bank")
                target = Bank(folder / "ortho", source.shape, ("X",), table.nodes_per_image)
                operator = operator_of(context, kind)
                result = orthogonalise(source.view(), target, order, operator.apply, folder / "work")
                quotients = rayleigh_quotients(operator, target.draft("X"), folder / "work")
                target.commit(
                    order=order,
                    grid=list(table.grid),
                    eigenvalues=result.eigenvalues.tolist(),
                    off_diagonal=result.off_diagonal,
                    rayleigh_quotients=np.asarray(quotients).tolist(),
                )
                remove(folder / "work")
            progress.advance()
