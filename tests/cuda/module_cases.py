"""What the compiled module _CUDA shows without a GPU: it loads, registers its kernels, and checks its arguments.

python tests/cuda/module_cases.py PATH_OF_THE_MODULE
"""

from __future__ import annotations

import importlib.util
import sys

import torch

from spectral_graph import ops

OPERATORS = ("csr_spmm", "gram", "rotate", "topc_affinity")


def load(path: str) -> None:
    spec = importlib.util.spec_from_file_location("spectral_graph._CUDA", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def complaint(name: str, *arguments) -> str:
    """What an operator's CUDA kernel says to tensors on the CPU, handed to it past the dispatcher."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
    try:
        getattr(torch.ops.spectral_graph, name).default.redispatch(keys, *arguments)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def check() -> int:
    """Check registration and texts; return the number of texts."""
    for name in OPERATORS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"spectral_graph::{name}", "CUDA"), name
    x, u = torch.zeros(4, 3), torch.zeros(3, 2, dtype=torch.float64)
    csr = torch.tensor([0, 1]), torch.tensor([0], dtype=torch.int32), torch.ones(1)
    ptr = torch.tensor([0, 4])
    texts = {
        ("gram", x): "gram: x must be on a GPU",
        ("gram", x.double()): "gram: x must be float32, got float64",
        ("gram", x[0]): "gram: x must have 2 dimensions, got the shape (3,)",
        ("rotate", x, u): "rotate: x must be on a GPU",
        ("rotate", x.int(), u): "rotate: x must be float32, got int32",
        ("csr_spmm", *csr, x): "csr_spmm: x must be on a GPU",
        ("csr_spmm", *csr, x.int()): "csr_spmm: x must be float32 or float64, got int32",
        ("topc_affinity", x, x, ptr, 1, 1, 0.0, False): "topc_affinity: query must be on a GPU",
        ("topc_affinity", x.half(), x, ptr, 1, 1, 0.0, False): "topc_affinity: query must be float32, got float16",
    }
    for request, text in texts.items():
        got = complaint(*request)
        assert got.startswith(f"spectral_graph::{text}"), f"{request[0]} says: {got}"
    # The CPU's kernels still serve tensors on the CPU.
    assert torch.equal(ops.gram(x + 1), torch.full((3, 3), 4.0, dtype=torch.float64))
    return len(texts)


if __name__ == "__main__":
    load(sys.argv[1])
    sys.stdout.write(f"{check()} texts of {len(OPERATORS)} operators\n")
