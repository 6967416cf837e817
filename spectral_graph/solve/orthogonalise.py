"""Reorthogonalisation of the bank (Eqn. 8 of the paper), streamed; an interrupted call resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from scipy.linalg import eigh

from spectral_graph.bank import Bank
from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.distributed.shared_bank import begin_together
from spectral_graph.errors import ConfigError, SolverError
from spectral_graph.io.files import remove
from spectral_graph.ops import gram, rotate
from spectral_graph.solve.bank_rows import float32_rows, image_chunks
from spectral_graph.solve.passes import Passes
from spectral_graph.solve.signs import column_signs, largest_entries
from spectral_graph.solve.streaming import gram_matrix, scratch
from spectral_graph.solve.whitening import ritz

Order = Literal["gram", "ritz"]
ORTHONORMAL = 1e-5
"""Largest product of two unit columns of float32 that counts as 0."""


@dataclass(frozen=True)
class Orthogonalised:
    """What is known about X_ortho.

    Attributes:
        eigenvalues: (C,) float64 descending: of X^T X (order "gram"), or Ritz values of the operator ("ritz").
        off_diagonal: largest |X_ortho^T X_ortho| off the diagonal, relative to its largest diagonal entry, as stored.
    """

    eigenvalues: np.ndarray
    off_diagonal: float


def orthogonalise(
    source: Bank,
    target: Bank,
    order: Order,
    apply: Callable[[np.ndarray, np.ndarray], None],
    work: str | Path,
    comm: Comm = ONE_PROCESS,
) -> Orthogonalised:
    """Write X_ortho = X U as the next generation of `target`, not yet committed.

    X is read three times and X_ortho written once, a chunk of images at a time; the next chunk is read ahead. Of
    several processes each reads and writes the rows of its images; then an interrupted call starts afresh.

    Args:
        source: bank of X (N, C).
        target: bank of shape (N, C) with the array X.
        order: "gram": U are the eigenvectors of X^T X, columns by decreasing eigenvalue (Eqn. 8; the columns keep
            their length, the square root of the eigenvalue). "ritz": orthonormal columns by decreasing Rayleigh
            quotient of the operator within span(X).
        apply: writes the product of the operator with its first argument into its second (used by "ritz"); of the rows
            of both those that this process owns.
        work: folder for working space and for how far it came; to be removed once `target` is committed. Calls that
            share it must share operator and order.
        comm: the processes that share the work.

    Returns:
        Eigenvalues and the remaining error. The sign of a column makes its entry of largest magnitude positive.

    Raises:
        ConfigError: there is no such order.
        SolverError: X holds NaN or infinity.
    """
    if order not in get_args(Order):
        raise ConfigError(f"`order={order!r}`: there is no such order; give one of {', '.join(get_args(Order))}")
    work = Path(work)
    channels, images = source.channels, comm.mine(source.n_images)
    if comm.size > 1:
        # How far a call with another number of processes came tells nothing about the rows of this one.
        if comm.is_rank0:
            remove(work)
        comm.barrier()
    passes = Passes(comm.folder(work) / "passes.npz", f"{order} {source.fingerprint}")
    square = passes.sum("gram", (channels, channels))
    for start, stop in passes.over("gram", image_chunks(source, images)):
        source.prefetch(range(stop, min(2 * stop - start, images.stop)))
        square += gram(torch.from_numpy(source.read(start, stop))).numpy()
    square = comm.sum(square)
    if not np.isfinite(square).all():
        raise SolverError("the bank holds NaN or infinity; recompute with `force=solve`")
    if order == "gram":
        weights, vectors = eigh(square)
        eigenvalues, u = np.maximum(weights[::-1], 0), vectors[:, ::-1]
    else:
        eigenvalues, u = _ritz(source, square, apply, passes, work, comm)
    # All processes continue with the bits of rank 0: their processors may round differently.
    eigenvalues, u = comm.broadcast(eigenvalues), comm.broadcast(u)
    u = np.array(u * _signs(source, u, passes, comm))
    if not target.left_behind():
        passes.restart("rotate", "square")
    begin_together(target, comm, resume=True)
    square = passes.sum("square", (channels, channels))
    matrix = torch.from_numpy(u)
    for start, stop in passes.over("rotate", image_chunks(source, images), target.flush):
        source.prefetch(range(stop, min(2 * stop - start, images.stop)))
        target.write(range(start, stop), rotate(torch.from_numpy(source.read(start, stop)), matrix).numpy())
        square += gram(torch.from_numpy(target.read(start, stop))).numpy()
    square = comm.sum(square)
    return Orthogonalised(eigenvalues, off_diagonal(square))


def off_diagonal(square: np.ndarray) -> float:
    """Return the largest entry of X^T X (C, C) off the diagonal, relative to the largest on it."""
    largest = float(np.diag(square).max())
    return float(np.abs(square - np.diag(np.diag(square))).max()) / largest if largest > 0 else 0.0


def _ritz(
    source: Bank,
    square: np.ndarray,
    apply: Callable[[np.ndarray, np.ndarray], None],
    passes: Passes,
    work: Path,
    comm: Comm,
) -> tuple[np.ndarray, np.ndarray]:
    """Return Ritz values (C,) descending and the (C, C) coefficients of the Ritz vectors; zeros beyond the rank."""
    products, own = passes.sum("products", square.shape), comm.folder(work)
    images = comm.mine(source.n_images)
    for _ in passes.over("products", [None]):
        with float32_rows(source, own, images) as x, scratch(own, x.shape, 1) as (product,):
            apply(x, product)
            products += gram_matrix(x, product)
    values, basis = ritz(square, comm.sum(products))
    u, eigenvalues = np.zeros_like(square), np.zeros(len(square))
    u[:, : basis.shape[1]], eigenvalues[: len(values)] = basis, values
    return eigenvalues, u


def _signs(source: Bank, u: np.ndarray, passes: Passes, comm: Comm) -> np.ndarray:
    """Return (C,) the signs of the columns of X U."""
    best = passes.sum("signs", (u.shape[1],))
    matrix, images = torch.from_numpy(np.array(u)), comm.mine(source.n_images)
    for start, stop in passes.over("signs", image_chunks(source, images)):
        source.prefetch(range(stop, min(2 * stop - start, images.stop)))
        largest_entries([rotate(torch.from_numpy(source.read(start, stop)), matrix).numpy()], best)
    return column_signs(best, comm)
