"""Argument checks of the shape inference and of the pure-torch operators, in the words of the compiled ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

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


def require_tensor(op: str, name: str, argument: Any) -> None:
    """Raise GraphError unless an argument is a dense tensor."""
    require(op, isinstance(argument, Tensor), lambda: f"{name} must be a torch tensor, got a {type(argument).__name__}")
    require(op, argument.layout == torch.strided, lambda: f"{name} must be dense, got {argument.layout}")


def contiguous(op: str, **arguments: Any) -> tuple[Tensor, ...]:
    """Return the arguments, given by their names, as contiguous tensors.

    Raises:
        GraphError: one of them is no dense tensor; the message names it.
    """
    for name, argument in arguments.items():
        require_tensor(op, name, argument)
    return tuple(argument.contiguous() for argument in arguments.values())


def require_apart(op: str, **arguments: Tensor) -> None:
    """Raise GraphError where two arguments, given by their names, share memory: what is written would be read."""
    if torch.compiler.is_compiling():  # without memory there
        return
    for (name, one), (other_name, other) in combinations(arguments.items(), 2):
        (first, last), (begin, end) = _span(one), _span(other)
        text = f"{name} and {other_name} must not share memory; pass {other_name}.clone()"
        require(op, one.device != other.device or last <= begin or end <= first, lambda text=text: text)  # type: ignore[misc]


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses between which the elements lie."""
    if not tensor.numel():
        return 0, 0
    places = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (places + 1) * tensor.element_size()


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
