"""Examines the CUDA kernels on a machine without a GPU: make cuda-check.

What it shows: the kernels compile for sm_80 and sm_90 without warnings, spills or stack frames; their source, executed
in emulation in several thread orders, gives the results of NumPy, without an access outside an array, undefined
behaviour or a race; nvcc's PTX gives them too, with no more memory sectors than needed; planted faults are noticed; the
Python module builds, links, loads and checks its arguments. What it does not show: speed, the occupancy reached, the
effects of weak memory order, or that anything runs on a GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "cuda")]

import cuda_toolkit  # noqa: E402
import emulator  # noqa: E402
import kernel_cases  # noqa: E402
import planted_faults  # noqa: E402
import ptx_cases  # noqa: E402

SEEDS = {"plain": (0, 1, 2, 3), "asan": (0, 1), "tsan": (0, 1)}


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_cubins(nvcc: Path, folder: Path) -> None:
    """Registers, shared memory, stack and spills of every kernel, as a table."""
    faults = []
    say("  kernel                            sm  registers  limit  static shared  stack  spills")
    for architecture in cuda_toolkit.ARCHITECTURES:
        for usage in cuda_toolkit.usages(nvcc, architecture, folder):
            limit = cuda_toolkit.REGISTERS.get(usage.kernel.split("<")[0], 0)
            say(
                f"  {usage.kernel:32} {architecture:>3} {usage.registers:10} {limit:6} {usage.shared:14} "
                f"{usage.stack:6} {usage.spills:7}"
            )
            if usage.complaint():
                faults.append(f"{usage.kernel} on sm_{architecture}: {usage.complaint()}")
    if faults:
        raise RuntimeError("; ".join(faults))


def check_emulation(folder: Path) -> None:
    """The kernels through g++: plain, under ASan and UBSan, under TSan, each in several thread orders."""
    for kind, seeds in SEEDS.items():
        (folder / kind).mkdir()
        program = emulator.build(folder / kind, kind)
        for seed in seeds:
            with emulator.Emulator(program, seed) as run:
                cases = kernel_cases.check_all(run, small=kind != "plain")
        say(f"  {kind}: {cases} cases in {len(seeds)} thread orders")


def check_faults(folder: Path) -> None:
    """The test of the tests: every planted fault is noticed by the build that must notice it."""

    def plant(numbered: tuple[int, planted_faults.Fault]) -> str:
        number, fault = numbered
        place = folder / f"fault_{number}"
        place.mkdir()
        return planted_faults.caught(fault, place, folder / fault.kind)

    with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
        notices = list(workers.map(plant, enumerate(planted_faults.FAULTS)))
    for fault, notice in zip(planted_faults.FAULTS, notices, strict=True):
        say(f"  {fault.name:34} {fault.kind:6} {notice[:90] or 'NOT NOTICED'}")
    if not all(notices):
        raise RuntimeError(f"{notices.count('')} planted faults were not noticed")


def check_ptx(nvcc: Path, folder: Path) -> None:
    """Run nvcc's PTX; sectors a request asserted; faults that cost sectors are noticed."""
    for architecture in cuda_toolkit.ARCHITECTURES:
        for line in ptx_cases.check_all(cuda_toolkit.make_ptx(nvcc, architecture, folder)):
            say(f"  sm_{architecture}: {line}")
    for number, fault in enumerate(planted_faults.SECTOR_FAULTS):
        place = folder / f"sectors_{number}"
        place.mkdir()
        planted_faults.plant(fault, place)
        target = place / "kernels.ptx"
        command = [str(nvcc), "-std=c++17", "-O3", f"-I{place}", "-arch=compute_80", "-ptx", "-o", str(target)]
        subprocess.run([*command, str(cuda_toolkit.SOURCE)], check=True, capture_output=True)
        try:
            ptx_cases.check_all(target.read_text())
        except AssertionError as error:
            say(f"  {fault.name:34} ptx    {str(error)[:90]}")
        else:
            raise RuntimeError(f"the planted fault '{fault.name}' was not noticed")


def run_python(*arguments: str) -> str:
    """Run a script of tests/cuda with the package of this folder; return what it wrote.

    Raises:
        RuntimeError: it fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} fails: {(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()


def check_host(folder: Path) -> None:
    """The host sides, over the emulation, give the results and the error texts of the CPU's operators."""
    place = folder / "host"
    place.mkdir()
    say(f"  {run_python('tests/cuda/host_cases.py', str(place))}")


def check_module(nvcc: Path, folder: Path) -> None:
    """The module spectral_graph._CUDA is built and linked, loads, and checks its arguments."""
    place = folder / "project"
    place.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "csrc", place / "csrc", ignore=shutil.ignore_patterns("*.cpp"))
    shutil.copy(ROOT / "csrc" / "module.cpp", place / "csrc")
    (place / "spectral_graph").mkdir()
    (place / "spectral_graph" / "__init__.py").touch()
    root = cuda_toolkit.toolkit_root(nvcc)
    libraries = folder / "libraries"
    libraries.mkdir()
    for wheel in (root / "lib").glob("libcudart.so.*"):  # a wheel has no name to link by
        if not (libraries / "libcudart.so").exists():
            (libraries / "libcudart.so").symlink_to(wheel)
    environment = {
        **os.environ,
        "CUDA_HOME": str(root),
        "SPECTRAL_GRAPH_CUDA": "1",
        "LIBRARY_PATH": os.pathsep.join(filter(None, [os.environ.get("LIBRARY_PATH", ""), str(libraries)])),
    }
    output = folder / "built"
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(output), "--build-temp", str(folder)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"setup.py fails: {(done.stdout + done.stderr)[-4000:]}")
    module = next(output.rglob("_CUDA*.so"))
    say(f"  built, linked, loaded; {run_python('tests/cuda/module_cases.py', str(module))}")


def main() -> int:
    """Run all legs; return 0 if none fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip-without-nvcc", action="store_true", help="without nvcc leave out the legs that need it")
    arguments = parser.parse_args()
    nvcc = cuda_toolkit.find_nvcc()
    if nvcc is None:
        say(cuda_toolkit.MISSING)
        if not arguments.skip_without_nvcc:
            return 1
    if reason := emulator.missing():
        say(f"The kernels cannot be emulated here: {reason}.")
        return 1
    say("The CUDA kernels: compiled for sm_80 and sm_90, executed in emulation only.")
    began, failures = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        legs: list[tuple[str, Callable[[], None]]] = [
            ("emulation against NumPy", lambda: check_emulation(folder)),
            ("planted faults", lambda: check_faults(folder)),
            ("host side", lambda: check_host(folder)),
        ]
        if nvcc is not None:
            legs.insert(0, ("cubins", lambda: check_cubins(nvcc, folder)))
            legs.append(("PTX", lambda: check_ptx(nvcc, folder)))
            legs.append(("module", lambda: check_module(nvcc, folder)))
        for title, leg in legs:
            start = time.perf_counter()
            say(f"{title}:")
            try:
                leg()
            except (AssertionError, RuntimeError, emulator.KernelError) as error:
                failures.append(title)
                say(f"  FAILED: {error}")
            say(f"  {time.perf_counter() - start:.0f} s")
    say(f"{'FAILED: ' + ', '.join(failures) if failures else 'passed'}, {time.perf_counter() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
