"""Argument checks of the shape inference and the pure-torch operators, with the messages of the compiled ones."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, NoReturn

import torch
from torch import Tensor

from spectral_graph.errors import GraphError

MOST_COLUMNS = 2**31 - 1


def fail(op: str, text: str) -> NoReturn:
    """Raise GraphError for an operator."""
    raise GraphError(f"spectral_graph::{op}: {text}")


def require(op: str, condition: bool | torch.SymBool, text: str) -> None:
    """Raise GraphError unless `condition` holds; an unknown size of a traced graph is checked when it runs."""
    if not isinstance(condition, bool):
        torch._check(condition, lambda: f"spectral_graph::{op}: {text}")
    elif not condition:
        fail(op, text)


def require_equal(op: str, given: int | torch.SymInt, expected: int | torch.SymInt, text: str) -> None:
    """Raise GraphError unless two sizes are equal; the message is the text followed by both."""
    require(op, given == expected, f"{text}, {expected}, got {given}")


def dtype_name(dtype: torch.dtype) -> str:
    """Return e.g. "float32"."""
    return str(dtype).removeprefix("torch.")


def shape_text(tensor: Tensor) -> str:
    """Return the shape as Python writes a tuple."""
    return str(tuple(tensor.shape))


def require_tensor(op: str, name: str, argument: Any) -> None:
    """Raise GraphError unless an argument is a dense tensor."""
    if not isinstance(argument, Tensor):
        fail(op, f"{name} must be a torch tensor, got a {type(argument).__name__}")
    if argument.layout != torch.strided:
        fail(op, f"{name} must be dense, got {argument.layout}")


def contiguous(op: str, **arguments: Any) -> tuple[Tensor, ...]:
    """Return the arguments, given by name, as contiguous tensors.

    Raises:
        GraphError: one of them is no dense tensor; the message names it.
    """
    for name, argument in arguments.items():
        require_tensor(op, name, argument)
    return tuple(argument.contiguous() for argument in arguments.values())


def require_apart(op: str, **arguments: Tensor) -> None:
    """Raise GraphError where two arguments, given by name, share memory, which the operator would overwrite."""
    if torch.compiler.is_compiling():  # traced tensors have no memory
        return
    for (name, one), (other_name, other) in combinations(arguments.items(), 2):
        (first, last), (begin, end) = _span(one), _span(other)
        if one.device == other.device and last > begin and end > first:
            fail(op, f"{name} and {other_name} must not share memory; pass {other_name}.clone()")


def _span(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses of the first element and past the last one."""
    if not tensor.numel():
        return 0, 0
    places = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (places + 1) * tensor.element_size()


def check_tensor(op: str, name: str, tensor: Tensor, dim: int, dtype: torch.dtype) -> None:
    """Check the number of dimensions and the dtype."""
    plural = "s" * (dim != 1)
    require(op, tensor.dim() == dim, f"{name} must have {dim} dimension{plural}, got the shape {shape_text(tensor)}")
    require(op, tensor.dtype == dtype, f"{name} must be {dtype_name(dtype)}, got {dtype_name(tensor.dtype)}")


def check_same_shape(op: str, name: str, tensor: Tensor, shape: Any, text: str) -> None:
    """Check for a float32 matrix of this shape; `text` says what else has the shape."""
    check_tensor(op, name, tensor, 2, torch.float32)
    for dim in (0, 1):
        found = f"{name} must have the shape of {text}, {tuple(shape)}, got {shape_text(tensor)}"
        require(op, tensor.shape[dim] == shape[dim], found)


def check_floating(op: str, name: str, tensor: Tensor) -> torch.dtype:
    """Check for float32 or float64 and return which."""
    found = tensor.dtype
    require(op, found in (torch.float32, torch.float64), f"{name} must be float32 or float64, got {dtype_name(found)}")
    return found


def check_half_or_float(op: str, name: str, tensor: Tensor) -> None:
    """Check for a matrix of float16 or float32."""
    found = tensor.dtype
    require(op, found in (torch.float16, torch.float32), f"{name} must be float16 or float32, got {dtype_name(found)}")
    check_tensor(op, name, tensor, 2, found)


def check_count(op: str, name: str, count: int) -> None:
    """Check that a number of neighbours or candidates is not negative."""
    require(op, count >= 0, f"{name} must be at least 0, got {count}")


def check_threshold(op: str, threshold: float) -> None:
    """Check for a finite threshold of at least 0."""
    require(op, 0 <= threshold < math.inf, f"threshold must be a finite number of at least 0, got {threshold:g}")


def check_csr(op: str, indptr: Tensor, indices: Tensor, columns: int | torch.SymInt) -> None:
    """Check shapes and dtypes of a CSR matrix with `columns` columns."""
    check_tensor(op, "indptr", indptr, 1, torch.int64)
    check_tensor(op, "indices", indices, 1, torch.int32)
    require(op, indptr.numel() >= 1, "indptr must have rows + 1 elements, got none")
    for condition in (columns >= 0, columns <= MOST_COLUMNS):
        require(op, condition, f"the number of columns must be in [0, {MOST_COLUMNS}], got {columns}")


def check_values(op: str, values: Tensor, indices: Tensor, dtype: torch.dtype) -> None:
    """Check that there is one value for every index."""
    check_tensor(op, "values", values, 1, dtype)
    require_equal(op, values.numel(), indices.numel(), "values must have as many elements as indices")


def check_csr_content(op: str, indptr: Tensor, indices: Tensor, columns: int) -> None:
    """Check that row pointers and indices stay inside the matrix; this reads the data."""
    first, last, entries = int(indptr[0]), int(indptr[-1]), indices.numel()
    require(op, first == 0, f"indptr must begin with 0, got {first}")
    require_equal(op, last, entries, "indptr must end with the number of indices")
    check_ascending(op, "indptr", indptr)
    outside = (indices < 0) | (indices >= columns)
    if bool(outside.any()):
        p = int(outside.nonzero()[0])
        fail(op, f"indices must lie in [0, {columns}), got indices[{p}] = {int(indices[p])}")


def check_ascending(op: str, name: str, starts: Tensor) -> None:
    """Check that row pointers never decrease; this reads the data."""
    falls = (starts.diff() < 0).nonzero()
    if len(falls):
        i = int(falls[0])
        one, two = int(starts[i]), int(starts[i + 1])
        fail(op, f"{name} must not decrease, got {name}[{i}] = {one} and {name}[{i + 1}] = {two}")


def row_of_entry(indptr: Tensor) -> Tensor:
    """Return the row (entries,) int64 of every entry."""
    rows = torch.arange(indptr.numel() - 1, device=indptr.device)
    return torch.repeat_interleave(rows, indptr.diff())
