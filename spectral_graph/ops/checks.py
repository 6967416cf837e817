"""Argument checks of the shape inference and of the pure-torch operators, in the words of the compiled ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spectral_graph.errors import GraphError

MOST_COLUMNS = 2**31 - 1


def require(op: str, condition: bool | torch.SymBool, text: Callable[[], str]) -> None:
    """Raise GraphError unless `condition` holds; an unknown size of a traced graph is checked when it runs."""
    if isinstance(condition, bool):
        if not condition:
            raise GraphError(f"spectral_graph::{op}: {text()}")
    else:
        torch._check(condition, lambda: f"spectral_graph::{op}: {text()}")


def dtype_name(dtype: torch.dtype) -> str:
    """Return e.g. "float32"."""
    return str(dtype).removeprefix("torch.")


def shape_text(tensor: Tensor) -> str:
    """Return the shape as Python writes a tuple."""
    return str(tuple(tensor.shape))


def check_tensor(op: str, name: str, tensor: Tensor, dim: int, dtype: torch.dtype) -> None:
    """Check the number of dimensions and the dtype."""
    require(
        op,
        tensor.dim() == dim,
        lambda: f"{name} must have {dim} dimension{'s' * (dim != 1)}, got the shape {shape_text(tensor)}",
    )
    require(
        op,
        tensor.dtype == dtype,
        lambda: f"{name} must be {dtype_name(dtype)}, got {dtype_name(tensor.dtype)}",
    )


def check_floating(op: str, name: str, tensor: Tensor) -> torch.dtype:
    """Check for float32 or float64 and return which."""
    require(
        op,
        tensor.dtype in (torch.float32, torch.float64),
        lambda: f"{name} must be float32 or float64, got {dtype_name(tensor.dtype)}",
    )
    return tensor.dtype


def check_csr(op: str, indptr: Tensor, indices: Tensor, columns: int) -> None:
    """Check shapes and dtypes of a matrix in compressed rows with `columns` columns."""
    check_tensor(op, "indptr", indptr, 1, torch.int64)
    check_tensor(op, "indices", indices, 1, torch.int32)
    require(op, indptr.numel() >= 1, lambda: "indptr must have rows + 1 elements, got none")
    require(
        op,
        columns >= 0,
        lambda: f"the number of columns must be in [0, {MOST_COLUMNS}], got {columns}",
    )
    require(
        op,
        columns <= MOST_COLUMNS,
        lambda: f"the number of columns must be in [0, {MOST_COLUMNS}], got {columns}",
    )


def check_values(op: str, values: Tensor, indices: Tensor, dtype: torch.dtype) -> None:
    """Check that there is one value for every index."""
    check_tensor(op, "values", values, 1, dtype)
    require(
        op,
        values.numel() == indices.numel(),
        lambda: f"values must have as many elements as indices, {indices.numel()}, got {values.numel()}",
    )


def check_csr_content(op: str, indptr: Tensor, indices: Tensor, columns: int) -> None:
    """Check that nothing that the matrix names lies outside its arrays; this reads the data."""
    first, last = int(indptr[0]), int(indptr[-1])
    require(op, first == 0, lambda: f"indptr must begin with 0, got {first}")
    entries = indices.numel()
    require(op, last == entries, lambda: f"indptr must end with the number of indices, {entries}, got {last}")
    falls = indptr.diff() < 0
    if bool(falls.any()):
        i = int(falls.nonzero()[0])
        require(
            op,
            False,
            lambda: (
                f"indptr must not decrease, got indptr[{i}] = {int(indptr[i])} and indptr[{i + 1}] = "
                f"{int(indptr[i + 1])}"
            ),
        )
    outside = (indices < 0) | (indices >= columns)
    if bool(outside.any()):
        p = int(outside.nonzero()[0])
        require(op, False, lambda: f"indices must lie in [0, {columns}), got indices[{p}] = {int(indices[p])}")


def row_of_entry(indptr: Tensor) -> Tensor:
    """Return the row (entries,) int64 of every entry."""
    rows = torch.arange(indptr.numel() - 1, device=indptr.device)
    return torch.repeat_interleave(rows, indptr.diff())
