"""Stages `solve` and `orthogonalise`: graph to eigenvector bank to orthogonal bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.distributed.shared_bank import begin_together, commit_together
from spectral_graph.graph.local_operator import local_operator
from spectral_graph.graph.merge import Normalisation, write_merged
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.io.files import remove
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.bank_rows import float32_rows, image_chunks
from spectral_graph.solve.chebyshev import rayleigh_quotients
from spectral_graph.solve.orthogonalise import orthogonalise
from spectral_graph.stages.adam import solve_by_adam
from spectral_graph.stages.chebyshev import solve_by_chebyshev
from spectral_graph.stages.context import Context, bank_of, graph_of, table_of
from spectral_graph.stages.optimality import judge


def solve(context: Context) -> None:
    """Write `<kind>/bank` for every affinity."""
    table = table_of(context)
    for kind in context.config.kinds:
        if not context.comm.agree(Bank.exists(context.run.folder(kind) / "bank")):
            _solve_kind(context, table, kind)


def operator_of(
    context: Context, table: ImageTable, kind: str, work: Path, normalisation: Normalisation | None = None
) -> BlockOperator:
    """Return the merged operator of one affinity, of several processes the rows that this one owns.

    Merged blocks that are missing are written first.

    Args:
        context: of the run.
        table: its images.
        kind: the affinity.
        work: folder for working space.
        normalisation: that of the run by default.
    """
    config, comm = context.config, context.comm
    normalisation = normalisation or config.normalisation
    store, layers = graph_of(context, table, kind), table.layers
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    if comm.size > 1:
        if comm.is_rank0:
            store.make_folder(f"merged/{normalisation}")
        comm.barrier()
    own = ids[comm.rank :: comm.size]
    todo = [i for i in own if not store.has(f"merged/{normalisation}/{i}")]
    with context.reporter.track(f"merge {kind}", len(own), "blocks", len(own) - len(todo)) as progress:
        for _ in write_merged(store, layers, todo, normalisation):
            progress.advance()
    comm.barrier()
    return merged_operator(store, normalisation) if comm.size == 1 else local_operator(store, normalisation, comm, work)


def _solve_kind(context: Context, table: ImageTable, kind: str) -> None:
    config, folder, comm = context.config, context.run.folder(kind), context.comm
    work = folder / "solve"
    images = comm.mine(len(table.images))
    operator = operator_of(context, table, kind, work)
    notes: dict[str, Any] = {}
    if config.solver == "chebyshev":
        read, notes = solve_by_chebyshev(context, table, kind, operator)
        known = images
    elif comm.is_rank0:
        # A step of Adam follows from the one before: the others wait.
        read, notes = solve_by_adam(context, table, kind)
        known = range(len(table.images))
    else:
        known = range(0)
    shape = (table.nodes, config.channels)
    bank = Bank(folder / "bank", shape, ("X",), table.nodes_per_image, config.bank_dtype)
    begin_together(bank, comm)
    for start, stop in image_chunks(bank, known):
        bank.write(range(start, stop), read(start, stop))
    comm.barrier()
    with float32_rows(bank, comm.folder(work), images) as x:
        quotients = rayleigh_quotients(operator, x, work)
        if config.optimality != "none":
            exact = config.normalisation == "random_walk"
            walk = operator if exact else operator_of(context, table, kind, work, "random_walk")
            notes["optimality"] = judge(context, table, walk, x, work, notes.get("eigenvalues") if exact else None)
    about = {"solver": config.solver, "grid": list(table.grid), "rayleigh_quotients": quotients.tolist()}
    commit_together(bank, comm, **about, **notes)
    if comm.is_rank0:
        remove(work)


def orthogonalise_banks(context: Context) -> None:
    """Write `<kind>/ortho` for every affinity (Eqn. 8)."""
    config, table, comm = context.config, table_of(context), context.comm
    order = config.order if config.order != "auto" else ("ritz" if config.solver == "chebyshev" else "gram")
    with context.reporter.track("orthogonalise", len(config.kinds), "banks") as progress:
        for kind in config.kinds:
            folder, work = context.run.folder(kind), context.run.folder(kind) / "work"
            if not comm.agree(Bank.exists(folder / "ortho")):
                source = bank_of(folder / "bank", table, verify=False)  # its rows are checked as they are read
                target = Bank(folder / "ortho", source.shape, ("X",), table.nodes_per_image, source.dtype)
                operator = operator_of(context, table, kind, work)
                result = orthogonalise(source, target, order, operator.apply, work, comm)
                with float32_rows(target, comm.folder(work), comm.mine(target.n_images)) as x:
                    quotients = rayleigh_quotients(operator, x, work)
                commit_together(
                    target,
                    comm,
                    order=order,
                    grid=list(table.grid),
                    eigenvalues=result.eigenvalues.tolist(),
                    off_diagonal=result.off_diagonal,
                    rayleigh_quotients=np.asarray(quotients).tolist(),
                )
                if comm.is_rank0:
                    remove(work)
            progress.advance()
