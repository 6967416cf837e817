"""Faults for testing the tests: each is a change of one place in a kernel that a build of the emulation must catch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import emulator
import kernel_cases


@dataclass(frozen=True)
class Fault:
    """`old`, which occurs once in csrc/cuda/<file>, becomes `new`; `kind` is the build that must notice."""

    name: str
    file: str
    old: str
    new: str
    kind: str = "plain"


FAULTS = (
    Fault("batch past the segment", "csr_spmm.cuh", "p + kBatch <= past; p += kBatch", "p < past; p += kBatch", "asan"),
    Fault("x read past its end", "csr_spmm.cuh", "  x += column;\n", "  x += column + 1;\n", "asan"),
    Fault("join leaves out a length", "csr_spmm.cuh", "segment - first > kShortJoin", "segment - first >= kShortJoin"),
    Fault("join without barrier", "csr_spmm.cuh", "  __syncthreads();\n", "", "tsan"),
    Fault("row ends after its entries", "csr_spmm.cuh", "indptr[middle + 1] + middle < item", "indptr[middle] < item"),
    Fault(
        "32-bit offset",
        "csr_spmm.cuh",
        "(x + static_cast<int64_t>(indices[p]) * channels)",
        "(x + static_cast<int>(indices[p] * static_cast<unsigned>(channels)))",
    ),
    Fault(
        "32-bit offset in a batch",
        "csr_spmm.cuh",
        "(x + static_cast<int64_t>(indices[p + u]) * channels)",
        "(x + static_cast<int>(indices[p + u] * static_cast<unsigned>(channels)))",
    ),
    Fault("plain write for a maximum", "csr_check.cuh", "atomicMax(&faults[1], ", "faults[1] = (", "tsan"),
    Fault(
        "no barrier after staging",
        "gram.cuh",
        "right_tile, b);\n    __syncthreads();\n",
        "right_tile, b);\n",
        "tsan",
    ),
    Fault("no barrier before staging again", "gram.cuh", "    __syncthreads();\n  }\n", "  }\n", "tsan"),
    Fault(
        "chunks added twice", "gram.cuh", "chunk = 0; chunk < chunks", "chunk = -(chunks > 1); chunk < chunks", "asan"
    ),
    Fault("padding written", "gram.cuh", "if (c < left && k < right) partial", "partial", "asan"),
    Fault("shared array too short", "rotate.cuh", "a, kRotateStage * kRotatePitch", "a, kRotateStage * 64", "asan"),
    Fault("rows past the end", "rotate.cuh", "if (r < rows && k < width)", "if (k < width)", "asan"),
    Fault(
        "lanes leave before a vote",
        "topc_select.cuh",
        "  if (begin >= past) return;\n",
        "  if (begin + lane >= past) return;\n",
    ),
    Fault("merge without __syncwarp", "topc_select.cuh", "keys[i] = 0;\n    __syncwarp();\n", "keys[i] = 0;\n", "tsan"),
    Fault("sort without __syncwarp", "warp_sort.cuh", "      __syncwarp();\n", "", "tsan"),
    Fault(
        "higher column first",
        "topc_select.cuh",
        "static_cast<uint32_t>(~static_cast<uint32_t>(column))",
        "static_cast<uint32_t>(column)",
    ),
    Fault("a node its own neighbour", "topc_select.cuh", " && column != row && ", " && "),
    Fault(
        "NaN passes",
        "topc_select.cuh",
        "value[k] >= threshold && value[k] > 0.0f",
        "!(value[k] < threshold || value[k] <= 0.0f)",
    ),
    Fault(
        "buffer overflows",
        "topc_select.cuh",
        "places + waiting + kRound > capacity",
        "places + waiting > capacity",
        "asan",
    ),
)

SECTOR_FAULTS = (
    Fault(
        "requests off the sectors' edges", "topc_select.cuh", "base = begin - shift; base", "base = begin; base", "ptx"
    ),
    Fault(
        "elements of x one by one",
        "csr_spmm.cuh",
        "  return *reinterpret_cast<const Vector<T, V>*>(from);\n",
        "  Vector<T, V> vector;\n  for (int k = 0; k < V; ++k) vector.at[k] = from[k];\n  return vector;\n",
        "ptx",
    ),
)
"""Right results at a higher cost: what runs the PTX must notice them."""


def plant(fault: Fault, folder: Path) -> Path:
    """Copy the kernels to `folder` with the fault in them; return the include folder."""
    shutil.copytree(emulator.CSRC / "cuda", folder / "cuda")
    source = folder / "cuda" / fault.file
    text = source.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.old)} places for the fault '{fault.name}', not 1")
    source.write_text(text.replace(fault.old, fault.new))
    return folder


def caught(fault: Fault, folder: Path, like: Path) -> str:
    """Return what noticed the fault; empty if nothing did. `like`: the folder of a sound build of its kind."""
    level = "-O0" if fault.kind == "asan" else "-O1"  # compiling takes longer than running
    program = emulator.build(folder, fault.kind, plant(fault, folder), like, level)
    for seed in (0, 1, 2):
        try:
            with emulator.Emulator(program, seed) as run:
                kernel_cases.check_all(run, small=fault.kind != "plain")
                if fault.kind == "plain" and kernel_cases.far_product(run) != [5.0, 21.0]:
                    return "the product with far columns is wrong"
        except (AssertionError, emulator.KernelError) as error:
            return str(error).splitlines()[0]
    return ""
