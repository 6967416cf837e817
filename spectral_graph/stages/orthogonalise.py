"""Stage `orthogonalise`: eigenvector bank to orthogonal bank (Eqn. 8 of the paper)."""

from __future__ import annotations

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.distributed.shared_bank import commit_together
from spectral_graph.io.files import remove
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.runs.notes import solution_notes
from spectral_graph.solve.bank_rows import float32_rows
from spectral_graph.solve.chebyshev import rayleigh_quotients
from spectral_graph.solve.orthogonalise import ORTHONORMAL, Order, orthogonalise
from spectral_graph.stages.context import Context, bank_of, table_of
from spectral_graph.stages.operator import operator_of


def orthogonalise_banks(context: Context) -> None:
    """Write `<kind>/ortho` for every affinity."""
    config, table = context.config, table_of(context)
    order = config.order if config.order != "auto" else ("ritz" if config.solver == "chebyshev" else "gram")
    with context.reporter.track("orthogonalise", len(config.kinds), "banks") as progress:
        for kind in config.kinds:
            if not context.comm.agree(Bank.exists(context.run.folder(kind) / "ortho")):
                _orthogonalise_kind(context, table, kind, order)
            progress.advance()


def _orthogonalise_kind(context: Context, table: ImageTable, kind: str, order: Order) -> None:
    comm, folder, work = context.comm, context.run.folder(kind), context.run.folder(kind) / "work"
    source = bank_of(folder / "bank", table, verify=False)  # its rows are checked as they are read
    notes = solution_notes(source)
    about = {"order": order, "grid": list(table.grid)}
    if order == "ritz" and notes["solver"] == "chebyshev" and notes.get("off_diagonal", 1.0) <= ORTHONORMAL:
        # The exact solver has stored orthonormal columns in this order: the bank is published once more.
        if comm.is_rank0:
            known = {name: notes[name] for name in ("eigenvalues", "off_diagonal", "rayleigh_quotients")}
            source.share(folder / "ortho", **about, **known)
        comm.barrier()
        return
    target = Bank(folder / "ortho", source.shape, ("X",), table.nodes_per_image, source.dtype)
    operator = operator_of(context, table, kind, work)
    result = orthogonalise(source, target, order, operator.apply, work, comm)
    with float32_rows(target, comm.folder(work), comm.mine(target.n_images)) as x:
        quotients = np.asarray(rayleigh_quotients(operator, x, work))
    commit_together(
        target,
        comm,
        **about,
        eigenvalues=result.eigenvalues.tolist(),
        off_diagonal=result.off_diagonal,
        rayleigh_quotients=quotients.tolist(),
    )
    if comm.is_rank0:
        remove(work)
