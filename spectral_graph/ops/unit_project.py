"""unit_project: centred rows of unit length and their coordinates in a few directions."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import check_half_or_float, check_tensor, contiguous, require_equal
from spectral_graph.ops.library import call, define, fake, fallback

OP = "unit_project"

define("unit_project(Tensor rows, Tensor mean, Tensor basis) -> (Tensor unit, Tensor inverse_norm, Tensor projected)")


def unit_project(rows: Tensor, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (rows - mean) scaled to unit length, the scales, and the product of the unit rows with `basis`.

    A row whose norm is below the smallest normal float32 stays zero and has the scale 0; a row that holds NaN or
    infinity has the scale NaN. The compiled result is the same, bit by bit, for every number of threads. Not
    differentiable.

    Args:
        rows: (n, d) float16 or float32.
        mean: (d,) float32.
        basis: (d, k) float32.

    Returns:
        unit (n, d), inverse_norm (n,) and projected (n, k), float32.

    Raises:
        GraphError: shapes or dtypes do not fit.
    """
    arguments = contiguous(OP, rows=rows, mean=mean, basis=basis)
    result: tuple[Tensor, Tensor, Tensor] = call(torch.ops.spectral_graph.unit_project.default, *arguments)
    return result


def _check(rows: Tensor, mean: Tensor, basis: Tensor) -> None:
    check_half_or_float(OP, "rows", rows)
    check_tensor(OP, "mean", mean, 1, torch.float32)
    check_tensor(OP, "basis", basis, 2, torch.float32)
    depth = rows.shape[1]
    require_equal(OP, mean.shape[0], depth, "mean must have as many elements as rows has columns")
    require_equal(OP, basis.shape[0], depth, "basis must have as many rows as rows has columns")


@fake(OP)
def _fake(rows: Tensor, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    _check(rows, mean, basis)
    return mean.new_empty(rows.shape), mean.new_empty(rows.shape[0]), mean.new_empty(rows.shape[0], basis.shape[1])


@fallback(OP)
def _torch(rows: Tensor, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    _check(rows, mean, basis)
    centred = rows.float() - mean
    norm = torch.linalg.vector_norm(centred.double(), dim=1)
    inverse = torch.where(norm < torch.finfo(torch.float32).tiny, 0.0, 1 / norm).float()
    inverse[~torch.isfinite(norm)] = torch.nan
    unit = centred * inverse[:, None]
    return unit, inverse, unit @ basis
