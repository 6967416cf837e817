"""Compiles the CUDA kernels over the emulation with g++ and runs them as a process."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
EMULATION = Path(__file__).resolve().parent / "emulation"
FLAGS = ("-std=c++17", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas")
SANITIZERS = {
    "plain": ((), ()),
    "asan": (("-fsanitize=address,undefined", "-fno-sanitize-recover=all"), ("-DSG_ASAN",)),
    "tsan": (("-fsanitize=thread",), ("-DSG_TSAN",)),
}
"""By build: the flags of the kernels, and those of the emulation itself, which is not instrumented."""
OWN = ("cuda_emu", "fibers", "driver")
"""Parts of the driver that no kernel is in."""
FAMILIES = ("products", "matrices", "dense", "topc", "rows")
"""Families of kernels, each compiled by itself: emulation/run_<family>.cpp."""
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=66:report_signal_unsafe=0",
}


class KernelError(Exception):
    """The emulation, a sanitizer or a launch refused what a kernel did."""


def missing() -> str:
    """Why the emulation cannot be built here; empty if it can."""
    if shutil.which("g++") is None:
        return "g++ is not installed"
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        return f"the emulation needs Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    return ""


def _compile(jobs: list[tuple[Path, tuple[str, ...], Path]], include: Path, level: str) -> None:
    """Compile sources with their flags into objects, side by side."""
    running = []
    for source, flags, target in jobs:
        command = ["g++", *FLAGS, level, *flags, f"-I{include}", f"-I{EMULATION}", "-c", str(source), "-o", str(target)]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    texts = [job.communicate()[1] for job in running]
    for job, text in zip(running, texts, strict=True):
        if job.returncode:
            raise KernelError(f"g++ fails: {text}")


def build(
    folder: Path, kind: str = "plain", csrc: Path = CSRC, like: Path | None = None, changed: tuple[str, ...] = FAMILIES
) -> Path:
    """Return the driver, compiled from the kernels in `csrc`.

    kind: a key of SANITIZERS. like: the folder of an earlier build of this kind, of which all is used again but the
    families in `changed`.
    """
    kernel_flags, own_flags = SANITIZERS[kind]
    own = tuple(f"{name}.cpp" for name in OWN) if like is None else ()
    sources = [(f"run_{family}.cpp", kernel_flags) for family in changed] + [(name, own_flags) for name in own]
    jobs = [(EMULATION / name, flags, folder / f"{name}_{kind}.o") for name, flags in sources]
    _compile(jobs, csrc, "-O0" if kind == "asan" and like else "-O1")
    names = [f"run_{family}.cpp" for family in FAMILIES] + [f"{name}.cpp" for name in OWN]
    fresh = {name for name, _ in sources}
    objects = [str((folder if name in fresh else like or folder) / f"{name}_{kind}.o") for name in names]
    program = folder / f"driver_{kind}"
    subprocess.run(["g++", *kernel_flags, *objects, "-o", str(program)], check=True)
    return program


class Emulator:
    """A running driver; `seed` permutes the order of threads and blocks."""

    def __init__(self, program: Path, seed: int = 0):
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, **ENVIRONMENT, "SG_EMU_SEED": str(seed)},
        )

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __call__(self, operator: str, *arrays) -> list[bytes]:
        """Run an operator of the driver and return its results."""
        data = [np.ascontiguousarray(array).tobytes() for array in arrays]
        request = " ".join([operator, *(str(len(part)) for part in data)]) + "\n"
        try:
            self.process.stdin.write(request.encode() + b"".join(data))
            self.process.stdin.flush()
        except BrokenPipeError:
            raise KernelError(self._report()) from None
        reply = self.process.stdout.readline().decode()
        if not reply:
            raise KernelError(self._report())
        word, _, rest = reply.rstrip("\n").partition(" ")
        if word == "error":
            raise KernelError(rest)
        return [self.process.stdout.read(int(size)) for size in rest.split()]

    def _report(self) -> str:
        """What a sanitizer wrote before it ended the process."""
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if "ERROR:" in line or "WARNING:" in line or "runtime error" in line]
        return f"the process ended with {code}: " + " | ".join(telling[:3] or lines[:3])
