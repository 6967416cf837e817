"""Stage `solve`: graph to eigenvector bank."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spectral_graph.bank import Bank
from spectral_graph.distributed.shared_bank import begin_together, commit_together
from spectral_graph.io.files import remove
from spectral_graph.ops import gram
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.solve.bank_rows import float32_rows, image_chunks
from spectral_graph.solve.chebyshev import rayleigh_quotients
from spectral_graph.solve.orthogonalise import off_diagonal
from spectral_graph.stages.adam import solve_by_adam
from spectral_graph.stages.chebyshev import solve_by_chebyshev
from spectral_graph.stages.context import Context, table_of
from spectral_graph.stages.operator import operator_of
from spectral_graph.stages.optimality import judge


def solve(context: Context) -> None:
    """Write `<kind>/bank` for every affinity."""
    table = table_of(context)
    for kind in context.config.kinds:
        if not context.comm.agree(Bank.exists(context.run.folder(kind) / "bank")):
            _solve_kind(context, table, kind)


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
    square = np.zeros((config.channels, config.channels))
    for start, stop in image_chunks(bank, known):
        rows = np.ascontiguousarray(read(start, stop), np.float32)
        bank.write(range(start, stop), rows)
        square += gram(torch.from_numpy(rows)).numpy()
    if config.solver == "chebyshev" and config.bank_dtype == "float32":
        notes["off_diagonal"] = off_diagonal(comm.sum(square))
    comm.barrier()
    with float32_rows(bank, comm.folder(work), images) as x:
        quotients = rayleigh_quotients(operator, x, work)
        if config.optimality != "none":
            notes["optimality"] = judge(context, table, kind, operator, x, notes)
    about = {"solver": config.solver, "grid": list(table.grid), "rayleigh_quotients": quotients.tolist()}
    commit_together(bank, comm, **about, **notes)
    if comm.is_rank0:
        remove(work)
