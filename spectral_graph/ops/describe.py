"""How the operators are computed on this machine, in words: `spectral-graph info --backends`."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch

from spectral_graph import __version__
from spectral_graph.ops.backends import BACKENDS, find_backend
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.ops.library import compiled, uncompiled_reason

PACKAGES = ("torch", "numpy", "scipy", "numba", "torch_sparse", "cupy-cuda12x", "cupy-cuda13x")


def instruction_set() -> str:
    """Return "AVX2" where the compiled operators use AVX2 and FMA, else "portable".

    torch decides by the same two tests as the operators do, the processor's abilities and the environment variable
    ATEN_CPU_CAPABILITY, so its answer holds for both.
    """
    return "AVX2" if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else "portable"


def describe_operators() -> str:
    """Return a text: versions, the form of the operators, threads, the CUDA module, every backend of csr_spmm."""
    lines = [f"spectral_graph {__version__}, Python {platform.python_version()}, {', '.join(_versions())}"]
    form = f"compiled, instruction set {instruction_set()}" if compiled() else f"pure torch: {uncompiled_reason()}"
    lines += [f"operators: {form}", f"threads: {torch.get_num_threads()}", f"CUDA module: {_cuda()}"]
    lines.append("backends of csr_spmm (spectral_graph.ops.use_backend):")
    for name in BACKENDS:
        backend = find_backend(name)
        reason = backend.missing()
        state = f"not available: {reason}" if reason else f"available ({backend.DEVICES})"
        lines.append(f"  {name:13} {state}")
    return "\n".join(lines)


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cuda() -> str:
    if os.environ.get("SPECTRAL_GRAPH_OPS") == "torch":
        return "not loaded: SPECTRAL_GRAPH_OPS is set to torch"
    if reason := load_cuda():
        return f"not available: {reason}"
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"loaded; GPUs: {', '.join(gpus) or 'none'}"
