"""The CUDA C++ source of csr_spmm as one text, for the run-time compiler NVRTC.

The text joins the files of csrc/cuda that nvcc compiles. It has no includes, because CuPy caches compiled modules by
their text and options: it would not notice a change in an included header.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

OPTIONS = ("-std=c++17",)
"""Options of NVRTC; CuPy adds --device-as-default-execution-space, which the host code needs, and -ftz=true."""
VECTORS = {"float": (4, 2, 1), "double": (2, 1)}
"""The columns of a thread for which kernels are compiled, by the type of the values."""
_HERE = Path(__file__).resolve().parent
_INCLUDE = re.compile(r'^#include ([<"])(.+)[>"].*\n', re.MULTILINE)


def kernel_names(scalar: str, vector: int) -> dict[str, str]:
    """Return the C++ names of the kernels of a type and width, by their role."""
    return {
        "plan": "sg::cuda::segment_plan",
        "segments": f"sg::cuda::spmm_segments<{scalar}, {scalar}, {vector}>",
        "join_short": f"sg::cuda::join_short<{scalar}, {vector}>",
        "join_long": f"sg::cuda::join_long<{scalar}, {vector}>",
    }


def all_kernel_names() -> tuple[str, ...]:
    """Return the C++ names of all kernels, each once."""
    every = (kernel_names(scalar, vector) for scalar, widths in VECTORS.items() for vector in widths)
    return tuple(dict.fromkeys(name for names in every for name in names.values()))


def kernel_folder() -> Path:
    """Return the folder of the sources: inside an installed package, or csrc of a checkout."""
    packaged = _HERE / "csrc"
    return packaged if packaged.is_dir() else _HERE.parents[2] / "csrc"


@functools.cache
def kernel_source() -> str:
    """Return the text: the prelude, then every file once, in the order of the includes."""
    seen: set[str] = set()
    # Device code cannot launch kernels with this syntax; the host code is compiled but never called.
    no_launches = "#undef SG_LAUNCH\n#define SG_LAUNCH(...) static_cast<void>(0)\n"
    parts = [(_HERE / "nvrtc_prelude.h").read_text(encoding="utf-8"), _expand("cuda/cuda_api.h", seen), no_launches]
    return "\n".join([*parts, _expand("cuda/csr_spmm.cuh", seen)])


def _expand(name: str, seen: set[str]) -> str:
    """Return a file with its includes expanded, without those of the standard library."""
    if name in seen:
        return ""
    seen.add(name)
    text = (kernel_folder() / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
    return _INCLUDE.sub(lambda found: "" if found[1] == "<" else _expand(found[2], seen), _without_emulation(text))


def _without_emulation(text: str) -> str:
    """Return the text without the include of the emulation, which only g++ sees."""
    return text.replace('#include "cuda_emu.h"\n', "")
