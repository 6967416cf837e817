"""The backend "cupy": the CUDA kernels of csrc/cuda, compiled by NVRTC through CuPy when they are first used.

It needs no nvcc. CuPy compiles with flush-to-zero of subnormal numbers. The kernels were compiled by NVRTC for sm_80
and sm_90 and executed as PTX by an interpreter; they have not run on a GPU.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from spectral_graph.ops.backends.cupy_launch import MOST_THREADS, Addresses, launches, segment_count
from spectral_graph.ops.backends.cupy_source import OPTIONS, all_kernel_names, kernel_source
from spectral_graph.ops.backends.registry import Csr, Product, package_missing

DEVICES = "CUDA, and CPU by copying to the GPU and back"


def missing() -> str:
    """Return why it cannot be used here and how to fix that, or an empty text."""
    version = (torch.version.cuda or "13").split(".")[0]
    if reason := package_missing("cupy", f"pip install cupy-cuda{version}x"):
        return reason
    if torch.version.cuda is None:
        return "this torch was built without CUDA; install one with it: https://pytorch.org/get-started/locally"
    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU; it needs one, with its driver (nvidia-smi shows both)"
    return ""


@functools.cache
def compile_kernels() -> Any:
    """Return the kernels as a `cupy.RawModule`, which CuPy compiles and caches for each GPU architecture."""
    import cupy

    return cupy.RawModule(code=kernel_source(), options=OPTIONS, backend="nvrtc", name_expressions=all_kernel_names())


def multiply(module: Any, matrix: Csr, x: Tensor) -> Tensor:
    """Return A x by the kernels of `module` on CuPy's current device and stream, where all tensors are."""
    rows, entries, channels = matrix.rows, matrix.indices.shape[0], x.shape[1]
    y = x.new_empty(rows, channels)
    segments = segment_count(rows, entries)
    first_row, carry = matrix.indptr.new_empty(segments + 1), x.new_empty(segments, channels)
    arrays = (matrix.indptr, matrix.indices, matrix.values, x, y, first_row, carry)
    addresses = Addresses(*(array.data_ptr() for array in arrays))
    scalar = "float" if x.dtype == torch.float32 else "double"
    for launch in launches(rows, entries, channels, scalar, addresses):
        kernel = module.get_function(launch.kernel)
        kernel((*launch.grid, 1), (MOST_THREADS, 1, 1), launch.arguments)
    return y


def prepare(matrix: Csr) -> Product:
    """Return the product by the kernels, with the matrix on its GPU, or on torch's current one if it is on the CPU."""
    import cupy

    home = matrix.values.device
    device = home if home.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
    there = Csr(matrix.indptr.to(device), matrix.indices.to(device), matrix.values.to(device), matrix.columns)

    def product(x: Tensor) -> Tensor:
        stream = torch.cuda.current_stream(device).cuda_stream
        with torch.cuda.device(device), cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(stream):
            return multiply(compile_kernels(), there, x.to(device)).to(home)

    return product
