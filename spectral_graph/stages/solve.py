"""Stages `solve` and `orthogonalise`: graph to eigenvector bank to orthogonal bank."""

from __future__ import annotations

import numpy as np

from spectral_graph.bank import Bank
from spectral_graph.files import remove
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.merge import Normalisation, merge_layers
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.orthogonalise import orthogonalise
from spectral_graph.solve.chebyshev import rayleigh_quotients
from spectral_graph.solve.widen import float32_rows, image_chunks
from spectral_graph.stages.adam import solve_by_adam
from spectral_graph.stages.chebyshev import solve_by_chebyshev
from spectral_graph.stages.context import Context, ImageTable, table_of
from spectral_graph.stages.yardstick import judge


def solve(context: Context) -> None:
    """Write `<kind>/bank` for every affinity."""
    table = table_of(context)
    for kind in context.config.kinds:
        if not Bank.exists(context.run.folder(kind) / "bank"):
            _solve_kind(context, table, kind)


def operator_of(context: Context, kind: str, normalisation: Normalisation | None = None) -> BlockOperator:
    """Return the merged operator of one affinity, by default of the run's normalisation.

    Merged blocks that are missing are written first.
    """
    config = context.config
    normalisation = normalisation or config.normalisation
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    layers: list[str] = store.attributes["layers"]
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    todo = [i for i in ids if not store.has(f"merged/{normalisation}/{i}")]
    # Rows of scope dataset have columns in other blocks.
    degrees = [store.read_degrees(layer) for layer in layers] if todo and config.scope == "dataset" else None
    with context.reporter.track(f"merge {kind}", len(ids), "blocks", len(ids) - len(todo)) as progress:
        for i in todo:
            blocks = [store.read(f"blocks/{layer}/{i}") for layer in layers]
            store.write(f"merged/{normalisation}/{i}", merge_layers(blocks, normalisation, degrees))
            progress.advance()
    return merged_operator(store, normalisation)


def _solve_kind(context: Context, table: ImageTable, kind: str) -> None:
    config, folder = context.config, context.run.folder(kind)
    work = folder / "solve"
    operator = operator_of(context, kind)
    if config.solver == "chebyshev":
        read, notes = solve_by_chebyshev(context, table, kind, operator)
    else:
        read, notes = solve_by_adam(context, table, kind)
    shape = (table.nodes, config.channels)
    bank = Bank(folder / "bank", shape, ("X",), table.nodes_per_image, config.bank_dtype)
    bank.begin()
    for start, stop in image_chunks(bank):
        bank.write(range(start, stop), read(start, stop))
    with float32_rows(bank, work) as x:
        quotients = rayleigh_quotients(operator, x, work)
        if config.yardstick != "none":
            exact = config.normalisation == "random_walk"
            walk = operator if exact else operator_of(context, kind, "random_walk")
            notes["yardstick"] = judge(context, table, walk, x, work, notes.get("eigenvalues") if exact else None)
    bank.commit(solver=config.solver, grid=list(table.grid), rayleigh_quotients=quotients.tolist(), **notes)
    remove(work)


def orthogonalise_banks(context: Context) -> None:
    """Write `<kind>/ortho` for every affinity (Eqn. 8)."""
    config, table = context.config, table_of(context)
    order = config.order if config.order != "auto" else ("ritz" if config.solver == "chebyshev" else "gram")
    with context.reporter.track("orthogonalise", len(config.kinds), "banks") as progress:
        for kind in config.kinds:
            folder = context.run.folder(kind)
            if not Bank.exists(folder / "ortho"):
                source = Bank.open(folder / "bank", verify=False)  # its rows are checked as they are read
                target = Bank(folder / "ortho", source.shape, ("X",), table.nodes_per_image, source.dtype)
                operator = operator_of(context, kind)
                result = orthogonalise(source, target, order, operator.apply, folder / "work")
                with float32_rows(target, folder / "work") as x:
                    quotients = rayleigh_quotients(operator, x, folder / "work")
                target.commit(
                    order=order,
                    grid=list(table.grid),
                    eigenvalues=result.eigenvalues.tolist(),
                    off_diagonal=result.off_diagonal,
                    rayleigh_quotients=np.asarray(quotients).tolist(),
                )
                remove(folder / "work")
            progress.advance()
