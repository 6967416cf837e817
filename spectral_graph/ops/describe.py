"""How the operators are computed on this machine: `spectral-graph info --backends`."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import torch
from typing_extensions import TypedDict

from spectral_graph.ops.backends import BACKENDS, find_backend
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.ops.library import compiled, uncompiled_reason
from spectral_graph.text.columns import WIDTH, Column, fields, table
from spectral_graph.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "numba", "torch_sparse", "cupy-cuda12x", "cupy-cuda13x")


def instruction_set() -> str:
    """Return "AVX2" where the compiled operators use AVX2 and FMA, else "portable".

    torch applies the same two tests as the operators, the processor's features and the environment variable
    ATEN_CPU_CAPABILITY.
    """
    return "AVX2" if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") else "portable"


class BackendRecord(TypedDict):
    """A backend of csr_spmm; ``reason`` says why it is not available, else null."""

    backend: str
    available: bool
    devices: str
    reason: str | None


class OperatorFacts(TypedDict):
    """How the operators are computed here.

    ``instruction_set`` is null where the operators are not compiled, and ``uncompiled`` then holds the reason;
    ``cuda`` is the reason why the CUDA module is not loaded, null where it is.
    """

    version: str
    python: str
    packages: dict[str, str]
    instruction_set: str | None
    uncompiled: str | None
    threads: int
    cuda: str | None
    gpus: list[str]
    backends: list[BackendRecord]


def operator_facts() -> OperatorFacts:
    """Gather versions, the form of the operators, threads, the CUDA module, every backend of csr_spmm."""
    reason = _cuda_missing()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "packages": _versions(),
        "instruction_set": instruction_set() if compiled() else None,
        "uncompiled": None if compiled() else uncompiled_reason(),
        "threads": torch.get_num_threads(),
        "cuda": reason,
        "gpus": [] if reason else [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "backends": [_backend(name) for name in BACKENDS],
    }


def render_operators(facts: OperatorFacts, width: int = WIDTH) -> str:
    """Return the facts as text in lines of at most `width` cells."""
    form = f"compiled, instruction set {facts['instruction_set']}"
    cuda = f"loaded; GPUs: {', '.join(facts['gpus']) or 'none'}"
    values = [
        ("spectral_graph", f"{facts['version']}, Python {facts['python']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in facts["packages"].items())),
        ("operators", form if facts["uncompiled"] is None else f"pure torch: {facts['uncompiled']}"),
        ("threads", str(facts["threads"])),
        ("CUDA module", cuda if facts["cuda"] is None else facts["cuda"]),
    ]
    columns = [Column("backend of csr_spmm", False), Column("here (spectral_graph.ops.use_backend)", False)]
    rows = [
        [
            entry["backend"],
            f"available ({entry['devices']})" if entry["available"] else f"not available: {entry['reason']}",
        ]
        for entry in facts["backends"]
    ]
    return "\n".join([*fields(values, width), "", *table(columns, rows, width)])


def _backend(name: str) -> BackendRecord:
    backend = find_backend(name)
    reason = backend.missing() or None
    return {"backend": name, "available": reason is None, "devices": backend.DEVICES, "reason": reason}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cuda_missing() -> str | None:
    if os.environ.get("SPECTRAL_GRAPH_OPS") == "torch":
        return "not loaded: SPECTRAL_GRAPH_OPS is set to torch"
    reason = load_cuda()
    return f"not available: {reason}" if reason else None
