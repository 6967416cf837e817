"""csr_spmm_by: csr_spmm computed by a named backend; `csr_spmm` calls it where another than "native" is chosen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.backends import Csr, usable_backend
from spectral_graph.ops.checks import (
    check_csr,
    check_csr_content,
    check_tensor,
    check_values,
    dtype_name,
    require,
    require_equal,
)
from spectral_graph.ops.library import LIBRARY, autograd, define, fake

OP = "csr_spmm"  # in the messages, since the user called csr_spmm

define("csr_spmm_by(Tensor indptr, Tensor indices, Tensor values, Tensor x, bool check, str backend) -> Tensor")


def check_arguments(
    indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, columns: int | torch.SymInt | None = None
) -> None:
    """Check shapes and dtypes of the arguments of csr_spmm; x must have `columns` rows where that is given."""
    allowed = (torch.float32, torch.float64, torch.bfloat16)
    require(OP, x.dtype in allowed, f"x must be float32, float64 or bfloat16, got {dtype_name(x.dtype)}")
    check_tensor(OP, "x", x, 2, x.dtype)
    if columns is not None:
        require_equal(OP, x.shape[0], columns, "x must have as many rows as the matrix columns")
    check_csr(OP, indptr, indices, x.shape[0])
    check_values(OP, values, indices, torch.float64 if x.dtype == torch.float64 else torch.float32)


def check_devices(backend: str, devices: str, values: Tensor, *others: Tensor) -> None:
    """Check that all tensors lie on one device, and that a backend of the CPU gets tensors on the CPU."""
    device = values.device
    for tensor in others:
        require(OP, tensor.device == device, f"all arguments must be on one device, got {device} and {tensor.device}")
    text = f"the backend {backend} multiplies on the {devices}, the arguments are on {device}; move them with .cpu()"
    require(OP, devices != "CPU" or device.type == "cpu", text)


@fake("csr_spmm_by")
def _fake(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, check: bool, backend: str) -> Tensor:
    check_arguments(indptr, indices, values, x)
    return values.new_empty(indptr.shape[0] - 1, x.shape[1])


def _multiply(indptr: Tensor, indices: Tensor, values: Tensor, x: Tensor, check: bool, backend: str) -> Tensor:
    check_arguments(indptr, indices, values, x)
    module = usable_backend(backend)
    check_devices(backend, module.DEVICES, values, indptr, indices, x)
    if check:
        check_csr_content(OP, indptr, indices, x.shape[0])
    matrix = Csr(indptr.contiguous(), indices.contiguous(), values.detach().contiguous(), x.shape[0])
    return module.prepare(matrix)(x.detach().to(values.dtype).contiguous())


LIBRARY.impl("csr_spmm_by", _multiply, "CompositeExplicitAutograd")


def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Save what the backward pass of csr_spmm and csr_spmm_by needs; csr_spmm has no argument `backend`."""
    ctx.save_for_backward(*inputs[:4])
    ctx.backend = inputs[5] if len(inputs) > 5 else "native"
    ctx.without_gradient = (None,) * (len(inputs) - 4)


def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients by all arguments of csr_spmm or csr_spmm_by."""
    indptr, indices, values, x = ctx.saved_tensors
    grad = grad.contiguous()
    ops = torch.ops.spectral_graph
    by_values = by_x = None
    if ctx.needs_input_grad[2]:
        by_values = ops.csr_sddmm.default(indptr, indices, grad, x.to(grad.dtype))
    if ctx.needs_input_grad[3]:
        by_x = ops.csr_spmm_transposed.default(indptr, indices, values, grad, x.shape[0], ctx.backend).to(x.dtype)
    return None, None, by_values, by_x, *ctx.without_gradient


autograd("csr_spmm_by", backward, setup_context)
