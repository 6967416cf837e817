"""unit_project: centred rows of unit length and their coordinates in a few directions."""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_graph.ops.checks import check_tensor, contiguous, dtype_name, require
from spectral_graph.ops.library import call, define, fake, fallback

OP = "unit_project"

define("unit_project(Tensor rows, Tensor mean, Tensor basis) -> (Tensor unit, Tensor inverse_norm, Tensor projected)")


def unit_project(rows: Tensor, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (rows - mean) scaled to unit length, the scales, and the product of the unit rows with `basis`.

    A row without length (below the smallest normal float32) stays zero and has the scale 0; a row that holds NaN or
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
    operator = torch.ops.spectral_graph.unit_project.default
    result: tuple[Tensor, Tensor, Tensor] = call(operator, *contiguous(OP, rows=rows, mean=mean, basis=basis))
    return result


def check_half_or_float(op: str, name: str, tensor: Tensor) -> None:
    """Check for a matrix of float16 or float32."""
    require(
        op,
        tensor.dtype in (torch.float16, torch.float32),
        lambda: f"{name} must be float16 or float32, got {dtype_name(tensor.dtype)}",
    )
    check_tensor(op, name, tensor, 2, tensor.dtype)


def _check(rows: Tensor, mean: Tensor, basis: Tensor) -> None:
    check_half_or_float(OP, "rows", rows)
    check_tensor(OP, "mean", mean, 1, torch.float32)
    check_tensor(OP, "basis", basis, 2, torch.float32)
    depth = rows.shape[1]
    text = f"must have as many elements as rows has columns, {depth}, got"
    require(OP, mean.shape[0] == depth, lambda: f"mean {text} {mean.shape[0]}")
    text_basis = f"must have as many rows as rows has columns, {depth}, got"
    require(OP, basis.shape[0] == depth, lambda: f"basis {text_basis} {basis.shape[0]}")


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
