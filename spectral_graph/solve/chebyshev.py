"""Exact leading eigenvectors by filtered subspace iteration: polynomial filter, then Rayleigh-Ritz.

Source: Y. Zhou, Y. Saad, M. L. Tiago, J. R. Chelikowsky, "Self-consistent-field calculations using
Chebyshev-filtered subspace iteration", J. Comput. Phys. 219 (2006), https://doi.org/10.1016/j.jcp.2006.03.017.
Chebyshev's polynomials are best where nothing is known of the eigenvalues. In their place stand those that are best
for the density of the eigenvalues, which comes from Lanczos estimates; later filters heed the residuals of the rounds
before, too (schedule.py). Columns over nodes are float32, in memory or memory-mapped, or on a device; the small (K, K)
problems are solved in float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_graph.bank import Bank
from spectral_graph.config import RunConfig
from spectral_graph.distributed.shared_bank import begin_together, commit_together
from spectral_graph.errors import SolverError
from spectral_graph.graph.operand import require_columns
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.io.readonly_tensor import as_readonly_tensor
from spectral_graph.solve.bank_rows import image_chunks
from spectral_graph.solve.columns import Array, Columns
from spectral_graph.solve.dense import NO_EDGES, dense_eigenvectors, is_small, no_edges
from spectral_graph.solve.device_columns import device_columns
from spectral_graph.solve.host_columns import host_columns
from spectral_graph.solve.lanczos import Spectrum, estimate_spectrum
from spectral_graph.solve.rayleigh_ritz import Round, rayleigh_ritz
from spectral_graph.solve.recurrence import Factors, apply_filter, step
from spectral_graph.solve.schedule import Schedule, block_width, locked_columns
from spectral_graph.solve.streaming import chunks, row_parts, workspace

MEMORY_BYTES = 256 << 20
"""Up to this size altogether the columns and the working space are kept in memory instead of on disk."""
SECONDS_BETWEEN_CHECKPOINTS = 20.0


@dataclass(frozen=True)
class ChebyshevSettings:
    """What the solver computes, and with how much memory.

    Attributes:
        n_components: number of eigenvectors, C.
        tol: the solver stops when the residuals of all C eigenvectors are at most this.
        degree: largest degree of the filter.
        max_rounds: largest number of rounds of filter and Rayleigh-Ritz.
        seed: of the starting block.
        memory_bytes: memory for columns and working space; beyond it they lie on disk, with the same result. The
            blocks of the operator may take what the columns leave.
    """

    n_components: int
    tol: float = 1e-3
    degree: int = 40
    max_rounds: int = 30
    seed: int = 0
    memory_bytes: int = MEMORY_BYTES

    @classmethod
    def of(cls, config: RunConfig) -> ChebyshevSettings:
        """Return the settings that the options of a run stand for."""
        return cls(config.channels, config.tol, config.degree, config.max_rounds, config.seed)


@dataclass(frozen=True)
class Eigenvectors:
    """The block of columns that the solver ended with.

    Attributes:
        x: (N, K) float32, unit columns, eigenvalues descending; the first ones are those asked for. Of its rows those
            that this process holds.
        nodes_per_image: rows of an image.
        first: the first of the N rows that this process holds.
    """

    x: np.ndarray
    nodes_per_image: int
    first: int = 0

    def view(self) -> np.ndarray:
        """Return `x`, no copy."""
        return self.x

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows of the images start..stop, which this process must hold."""
        return self.x[start * self.nodes_per_image - self.first : stop * self.nodes_per_image - self.first]


def chebyshev(
    operator: BlockOperator,
    work: str | Path,
    settings: ChebyshevSettings,
    nodes_per_image: int,
    on_round: Callable[[Round], None],
    start: np.ndarray | None = None,
    device: torch.device | None = None,
) -> tuple[Eigenvectors, list[Round]]:
    """Compute the eigenvectors of the largest eigenvalues of a symmetric operator.

    Args:
        operator: N x N; it knows which rows this process holds, and who holds the others: all of them must call. Where
            it has few nodes against the columns (solve/dense.py) its dense matrix is solved, in float64 on the CPU.
        work: folder of the working state; an interrupted call resumes from its last checkpoint.
        settings: number of eigenvectors, residual, filter, memory.
        nodes_per_image: rows of an image; noted in the state.
        on_round: called after each round.
        start: (N, any number) approximate eigenvectors to begin with, the leading ones first; the rows held here.
        device: the columns live there, and as many blocks as there is room for, the others in memory or on disk;
            `check_room` tells whether they fit. The operators of a GPU add up in another order than those of
            the CPU: the result agrees to rounding.

    Returns:
        The eigenvectors, unit columns with a few more than asked for, and the rounds.

    Raises:
        SolverError: fewer nodes than channels, `tol` is no positive number, the operator is zero, or `start` does not
            fit or is not finite.
    """
    work = Path(work)
    n, rows, comm = operator.shape[0], operator.rows, operator.comm
    channels, tol, seed = settings.n_components, settings.tol, settings.seed
    _check(channels, n, tol)
    if start is not None:
        _check_start(start, len(rows))
    width = block_width(n, channels)
    if is_small(n, width):
        found, last = dense_eigenvectors(operator, width)
        on_round(last)
        return Eigenvectors(found, nodes_per_image, rows.start), [last]
    images = range(rows.start // nodes_per_image, rows.stop // nodes_per_image)
    resumed = comm.agree(Bank.exists(work / "state"))
    with _columns(operator, width, work, settings.memory_bytes, device) as (columns, (x, product, free)):
        if resumed:
            state = Bank.open(work / "state", verify=False)  # its rows are checked as they are read
            for begin, end in image_chunks(state, images):
                columns.put(state.read(begin, end), x, begin * nodes_per_image - rows.start)
            spectrum, rounds = Spectrum(**state.notes["spectrum"]), [_of_json(r) for r in state.notes["rounds"]]
        else:
            state = Bank(work / "state", (n, width), ("X",), nodes_per_image)
            spectrum, rounds = estimate_spectrum(columns.operator, seed), []
            if spectrum.upper - spectrum.lower < NO_EDGES:
                raise no_edges()
            columns.random(x, seed, 2)
        schedule = Schedule(spectrum, n, channels, width, tol, settings.degree, comm)
        saved = time.monotonic()

        def ended() -> bool:
            return len(rounds) >= settings.max_rounds or (bool(rounds) and rounds[-1].residuals[:channels].max() <= tol)

        while not ended():
            if not rounds and start is not None:
                _begin_with(columns, start, x)
                done = 0, 0
            else:
                locked = locked_columns(rounds[-1], channels, tol) if rounds else 0
                chosen = schedule.filter(rounds)
                x, product, free = _filter_columns(columns, chosen, locked, x, product, free)
                done = len(chosen), width - locked
            step(columns.operator, x, product, 1.0, 0.0, 0.0)
            index = len(rounds) + 1
            ritz, residuals = rayleigh_ritz(columns, x, product, free, seed, 2 + index)
            x, free = free, x
            rounds.append(Round(index, ritz, residuals, *done))
            # After the last round the caller stores the result: a checkpoint would only take as long again.
            if not ended() and comm.agree(time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS):
                begin_together(state, comm)
                columns.save(x, state.draft()[rows.start : rows.stop])
                commit_together(state, comm, spectrum=asdict(spectrum), rounds=[_as_json(r) for r in rounds])
                saved = time.monotonic()
            on_round(rounds[-1])
        found = columns.as_result(x, work, settings.memory_bytes)
    return Eigenvectors(found, nodes_per_image, rows.start), rounds


def _columns(
    operator: BlockOperator, width: int, work: Path, memory_bytes: int, device: torch.device | None
) -> AbstractContextManager[tuple[Columns, Sequence[Array]]]:
    if device is None:
        return host_columns(operator, width, work, memory_bytes)
    return device_columns(operator, width, device, memory_bytes)


def _check(channels: int, nodes: int, tol: float) -> None:
    if not 1 <= channels <= nodes:
        raise SolverError(f"`channels={channels}`: the graph has {nodes} nodes; give 1 to {nodes}")
    if not 0 < tol < np.inf:
        raise SolverError(f"`tol={tol}`: a residual cannot be at most this; give a number above 0, such as 1e-3")


def _check_start(start: np.ndarray, rows: int) -> None:
    if start.ndim != 2 or len(start) != rows:
        raise SolverError(f"warm start: X has shape {start.shape}, expected ({rows}, any number of columns)")


def _begin_with(columns: Columns, start: np.ndarray, x: Array) -> None:
    """Put the columns of `start` in place of the first random columns."""
    for rows in chunks(len(x)):
        part = np.asarray(start[rows, : x.shape[1]], np.float32)
        if not np.isfinite(part).all():
            raise SolverError("warm start: X holds NaN or infinity; start from another run, or without one")
        columns.put(part, x, rows.start)


def _filter_columns(
    columns: Columns, chosen: Sequence[Factors], locked: int, x: Array, first: Array, second: Array
) -> tuple[Array, Array, Array]:
    """Filter the columns of x from `locked` on; returns the array that holds all columns now, and the two others."""
    operator = columns.operator
    if locked == 0:
        done, other = apply_filter(operator, x, first, chosen)
        return done, other, second
    # The active columns lie side by side in the working space, so that products read whole rows.
    shape = len(x), x.shape[1] - locked
    current, other = (array.reshape(-1)[: shape[0] * shape[1]].reshape(shape) for array in (first, second))
    columns.pack(x, locked, current)
    done, _ = apply_filter(operator, current, other, chosen)
    columns.unpack(done, x, locked)
    return x, first, second


def _as_json(result: Round) -> dict[str, object]:
    return asdict(result) | {"ritz": result.ritz.tolist(), "residuals": result.residuals.tolist()}


def _of_json(stored: dict[str, Any]) -> Round:
    return Round(**(stored | {"ritz": np.array(stored["ritz"]), "residuals": np.array(stored["residuals"])}))


def rayleigh_quotients(operator: BlockOperator, x: np.ndarray, work: Path) -> np.ndarray:
    """Return x_c^T S x_c / x_c^T x_c for each column of x (N, C) float32, (C,) float64.

    Args:
        operator: S.
        x: the columns; of their rows those that this process holds.
        work: folder for working space.

    Raises:
        GraphError: x does not hold the rows of this process.
    """
    require_columns("X", x, len(operator.rows))
    comm = operator.comm
    with workspace(comm.folder(work), (x.shape[0], x.shape[1]), 1, MEMORY_BYTES) as (product,):
        operator.apply(x, product)
        top, bottom = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        for own, image in row_parts([x, product]):
            part = as_readonly_tensor(own).numpy()
            top += np.einsum("nc,nc->c", part, image, dtype=np.float64)
            bottom += np.einsum("nc,nc->c", part, part, dtype=np.float64)
    top, bottom = comm.sum(np.stack([top, bottom]))
    return np.asarray(top / np.maximum(bottom, np.finfo(np.float64).tiny))
