"""What the compiled module _CUDA shows without a GPU: it loads, registers its kernels, and checks its arguments.

python tests/cuda/module_cases.py PATH_OF_THE_MODULE
"""

from __future__ import annotations

import importlib.util
import sys

import torch

from spectral_graph import ops
from spectral_graph.ops.cuda import OPERATORS


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
    ptr, half = torch.tensor([0, 4]), x.half()
    adam = x, x, x, torch.ones(4), 0.1, 0.9, 0.999, 1e-8
    texts = {
        ("gram", x): "gram: x must be on a GPU",
        ("gram", x.double()): "gram: x must be float32, got float64",
        ("gram", x[0]): "gram: x must have 2 dimensions, got the shape (3,)",
        ("rotate", x, u): "rotate: x must be on a GPU",
        ("rotate", x.int(), u): "rotate: x must be float32, got int32",
        ("csr_spmm", *csr, x): "csr_spmm: x must be on a GPU",
        ("csr_spmm", *csr, x.bfloat16()): "csr_spmm: x must be on a GPU",
        ("csr_spmm", *csr, x.int()): "csr_spmm: x must be float32, float64 or bfloat16, got int32",
        ("csr_sddmm", *csr[:2], x, x): "csr_sddmm: a must be on a GPU",
        ("csr_sddmm", *csr[:2], half, x): "csr_sddmm: a must be float32 or float64, got float16",
        ("csr_transpose", *csr, 1): "csr_transpose: indptr must be on a GPU",
        ("csr_transpose", *csr[:2], half, 1): "csr_transpose: values must be float32 or float64, got float16",
        ("csr_symmetrise", *csr, 1): "csr_symmetrise: indptr must be on a GPU",
        ("csr_symmetrise", *csr[::-1], 1): "csr_symmetrise: indptr must be int64, got float32",
        ("rayleigh", *csr, csr[2], x): "rayleigh: u must be on a GPU",
        ("rayleigh", *csr, csr[2], half): "rayleigh: u must be float32, got float16",
        ("adam_rows_", x, *adam): "adam_rows_: x must be on a GPU",
        ("adam_rows_", half, *adam): "adam_rows_: x must be float32, got float16",
        ("topc_affinity", x, x, ptr, 1, 1, 0.0, False): "topc_affinity: query must be on a GPU",
        ("topc_affinity", half, x, ptr, 1, 1, 0.0, False): "topc_affinity: query must be float32, got float16",
    }
    mean, basis, names = torch.zeros(3), torch.zeros(3, 2), torch.zeros(4, dtype=torch.int32)
    chosen = torch.zeros(4, 2, dtype=torch.int32)
    cosines, cells = (mean, torch.ones(4), names, chosen, 1, 0.0), (names, x, names, ptr, chosen, 1)
    step = x, x, x, 1.0, 1.0, 1.0, True
    texts |= {
        ("unit_project", x, mean, basis): "unit_project: rows must be on a GPU",
        ("unit_project", half, mean, basis): "unit_project: rows must be on a GPU",
        ("unit_project", x.int(), mean, basis): "unit_project: rows must be float16 or float32, got int32",
        ("cosine_topc", x, x, *cosines): "cosine_topc: query must be on a GPU",
        ("cosine_topc", half, x, *cosines): "cosine_topc: query must be float32, got float16",
        ("cell_topc", x, *cells): "cell_topc: query must be on a GPU",
        ("cell_topc", x[0], *cells): "cell_topc: query must have 2 dimensions, got the shape (3,)",
        ("chebyshev_step_", *csr, *step): "chebyshev_step_: x must be on a GPU",
        ("chebyshev_step_", *csr, half, *step[1:]): "chebyshev_step_: x must be float32, got float16",
    }
    lists = tuple([part] for part in csr)
    refusals = {text: complaint(*request) for request, text in texts.items()}
    refusals["topc_merge: c must be at least 0, got -1"] = complaint("topc_merge", *lists, -1)
    refusals["topc_merge: indptr, indices and values must hold"] = complaint("topc_merge", *lists[:2], [], 1)
    for text, got in refusals.items():
        assert got.startswith(f"spectral_graph::{text}"), f"{text} is not what it says: {got}"
    # The CPU's kernels still serve tensors on the CPU.
    assert torch.equal(ops.gram(x + 1), torch.full((3, 3), 4.0, dtype=torch.float64))
    return len(refusals)


if __name__ == "__main__":
    load(sys.argv[1])
    sys.stdout.write(f"{check()} texts of {len(OPERATORS)} operators\n")
