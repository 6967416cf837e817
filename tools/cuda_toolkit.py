"""Finds nvcc, compiles the kernels with it, and reads what ptxas says about them.

python tools/cuda_toolkit.py   installs nvcc as a Python package where the machine has none; make cuda-check calls it
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "tests" / "cuda" / "kernels.cu"
ARCHITECTURES = ("80", "90")
RELEASE = "13"
"""The major release of CUDA that torch was built with; it refuses others."""
REQUIREMENT = "cuda-toolkit[nvcc,cccl]==13.0.3.0"
MISSING = (
    f"nvcc of CUDA {RELEASE} was not found: neither in CUDA_HOME nor on the PATH nor among the Python packages. "
    f'Install it from PyPI: pip install "{REQUIREMENT}"'
)
REGISTERS = {
    "adam_sizes": 40,
    "adam_update": 40,
    "cell_topc_rows": 48,
    "cosine_topc_rows": 48,
    "csr_check": 32,
    "entry_rows": 32,
    "gram_chunks": 96,
    "gram_sum": 40,
    "index_check": 32,
    "join_long": 48,
    "join_short": 40,
    "rayleigh_segments": 64,
    "rayleigh_sum": 40,
    "rotate_rows": 80,
    "row_sums": 32,
    "sddmm_runs": 64,
    "segment_plan": 32,
    "spmm_segments": 64,
    "step_segments": 64,
    "topc_count": 32,
    "topc_merge_rows": 64,
    "topc_select": 64,
    "topc_write": 40,
    "transpose_entries": 32,
    "transpose_starts": 32,
    "union_keep": 32,
    "union_starts": 32,
    "union_write": 32,
    "unit_rows": 40,
}
"""The most registers a thread may use: 64 leave room for 1024 threads on a multiprocessor, 80 for 768."""


@dataclass(frozen=True)
class Usage:
    """What one kernel takes on one architecture."""

    kernel: str
    architecture: str
    registers: int
    shared: int
    stack: int
    spills: int

    def complaint(self) -> str:
        """Return what is not as it must be, or an empty text."""
        limit = REGISTERS.get(self.kernel.split("<")[0])
        if limit is None:
            return "no register limit is set for it"
        if self.stack or self.spills:
            return f"{self.stack} bytes of stack, {self.spills} bytes spilled"
        return f"more than {limit} registers" if self.registers > limit else ""


def packaged_nvcc() -> Path:
    """Return where the Python packages of CUDA 13 put nvcc."""
    return Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "nvcc"


def fits(nvcc: Path) -> bool:
    """Return whether this is an nvcc of the right release."""
    if not nvcc.is_file():
        return False
    text = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True, check=False).stdout
    return f"release {RELEASE}." in text


def find_nvcc() -> Path | None:
    """Return nvcc from CUDA_HOME, the PATH or the package nvidia-cuda-nvcc."""
    home = os.environ.get("CUDA_HOME")
    found = shutil.which("nvcc")
    places = [Path(home) / "bin" / "nvcc"] if home else []
    places += [Path(found)] if found else []
    places.append(packaged_nvcc())
    return next(filter(fits, places), None)


def toolkit_root(nvcc: Path) -> Path:
    """Return the folder that CUDA_HOME must name; `nvcc` itself may be a script that calls the real one."""
    command = [str(nvcc), "--dryrun", "-c", "-x", "cu", os.devnull]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    match = re.search(r"_HERE_=(.*)", text)
    return Path(match[1].strip()).resolve().parent if match else nvcc.resolve().parent.parent


def run_nvcc(nvcc: Path, *arguments: str) -> str:
    """Run nvcc with the flags of all legs; return its messages.

    Raises:
        RuntimeError: it fails; a warning is a failure.
    """
    command = [str(nvcc), "-std=c++17", "-O3", f"-I{ROOT / 'csrc'}", "-Werror", "all-warnings", *arguments, str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvcc fails: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def usages(nvcc: Path, architecture: str, folder: Path) -> list[Usage]:
    """Compile for one architecture and return what each kernel takes."""
    cubin = folder / f"kernels_{architecture}.cubin"
    text = run_nvcc(nvcc, f"-arch=sm_{architecture}", "-Xptxas", "-v", "-cubin", "-o", str(cubin))
    text = subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True).stdout
    found = []
    for part in text.split("Compiling entry function '")[1:]:
        name = re.match(r"(?:void )?(?:sg::cuda::)?([\w:]+(?:<[^>]*>)?)\(", part)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        if not (name and stack and registers):
            raise RuntimeError(f"ptxas reports in another form: {part}")
        spills = int(stack[2]) + int(stack[3])
        size = int(shared[1]) if shared else 0
        found.append(Usage(name[1], architecture, int(registers[1]), size, int(stack[1]), spills))
    if not found:
        raise RuntimeError("ptxas reports no kernel")
    return sorted(found, key=lambda usage: usage.kernel)


def make_ptx(nvcc: Path, architecture: str, target: Path) -> None:
    """Write the PTX of all kernels for one architecture."""
    run_nvcc(nvcc, f"-arch=compute_{architecture}", "-ptx", "-o", str(target))


def main() -> int:
    """Install nvcc into the environment of this Python if there is none."""
    if find_nvcc() is not None:
        return 0
    return subprocess.run([sys.executable, "-m", "pip", "install", REQUIREMENT], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
