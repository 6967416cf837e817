"""Compiles the CPU operators with AddressSanitizer and UndefinedBehaviorSanitizer and runs their cases."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
CASES = Path(__file__).resolve().parent / "operator_cases.py"
KEPT = ROOT / "build" / "sanitize"
"""Objects by the digest of all that they are made from."""

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = (
    "-std=c++17",
    "-O0",  # half the time of -O1, most of which is compiling
    "-g1",
    "-fPIC",
    "-fno-omit-frame-pointer",
    "-D_GLIBCXX_ASSERTIONS",  # indices of std::vector too
    "-DTORCH_TARGET_VERSION=0x020d000000000000",
    *SANITIZE,
)
PATHS = {"AVX2": {}, "portable": {"ATEN_CPU_CAPABILITY": "default"}}
"""The environment that makes the operators take each of their two paths."""


class SanitizerError(Exception):
    """The build failed, or a sanitizer or a case reported a fault."""


def missing() -> str:
    """Return why the operators cannot be built with sanitizers here; empty if they can."""
    if shutil.which("g++") is None:
        return "g++ is not installed"
    if platform.system() != "Linux" or not library("libasan.so").is_file():
        return "g++ comes without libasan.so"
    return ""


def library(name: str) -> Path:
    """Return where g++ has a library of its own."""
    command = ["g++", f"-print-file-name={name}"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()).resolve()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SanitizerError(f"{command[0]} fails: {done.stderr[-4000:]}")


def sources(csrc: Path = CSRC) -> list[Path]:
    """Return what the module spectral_graph._C is built from."""
    return sorted(csrc.rglob("*.cpp"))


def build(csrc: Path = CSRC) -> Path:
    """Return the shared library of the operators in `csrc`; objects of unchanged sources are used again."""
    torch = Path(importlib.util.find_spec("torch").origin).parent
    system = [f"-isystem{path}" for path in (torch / "include", sysconfig.get_path("include"))]
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    common = hashlib.sha256(f"{compiler}{importlib.metadata.version('torch')}{FLAGS}".encode())
    for header in sorted(csrc.glob("cpu/**/*.h")):
        common.update(f"{header.relative_to(csrc)}\n{header.read_text()}".encode())
    KEPT.mkdir(parents=True, exist_ok=True)

    def make(source: Path) -> Path:
        digest = common.copy()
        digest.update(source.read_bytes())
        target = KEPT / f"{source.stem}-{digest.hexdigest()[:20]}.o"
        if not target.exists():
            part = target.with_suffix(f".{os.getpid()}.part")
            _run(["g++", *FLAGS, f"-I{csrc}", *system, "-c", str(source), "-o", str(part)])
            part.rename(target)
        return target

    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        objects = list(workers.map(make, sources(csrc)))
    digest = hashlib.sha256(" ".join(path.name for path in objects).encode()).hexdigest()[:20]
    target = KEPT / f"_C-{digest}.so"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}.part")
        link = ["-shared", *SANITIZE, *map(str, objects), f"-L{torch / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10"]
        _run(["g++", *link, "-o", str(part)])
        part.rename(target)
    return target


def run_cases(module: Path, path: str, *names: str) -> str:
    """Run the cases of these names, or all, on a path of PATHS; return what they wrote.

    Raises:
        SanitizerError: a sanitizer or a case reports a fault; the text holds the telling lines.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in ("ATEN_CPU_CAPABILITY", "LD_PRELOAD")}
    environment = {
        **inherited,
        **PATHS[path],
        "PYTHONPATH": str(ROOT),
        # libstdc++ too: the sanitizer looks for its functions that throw before torch brings it.
        "LD_PRELOAD": f"{library('libasan.so')} {library('libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",  # Python and torch never free everything
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, str(CASES), str(module), *names]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines()
        telling = [line for line in lines if "ERROR:" in line or "runtime error" in line or "Assertion" in line]
        raise SanitizerError(" | ".join(telling[:2] or lines[-3:]))
    return done.stdout
