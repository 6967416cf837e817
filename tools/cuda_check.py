"""Examines the CUDA kernels on a machine without a GPU: make cuda-check.

What it shows: the kernels compile for sm_80 and sm_90 without warnings, spills or stack frames; their source, executed
in emulation in several thread orders, gives the results of NumPy, without an access outside an array, undefined
behaviour or a race; nvcc's PTX gives them too, with no more memory sectors than needed; planted faults are noticed; the
Python module builds, links, loads and checks its arguments. The tasks of all legs share the processors; a leg's seconds
are the sum over its tasks. What it does not show: speed, the occupancy reached, the
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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "cuda")]

import cuda_toolkit  # noqa: E402
import emulator  # noqa: E402
import kernel_cases  # noqa: E402
import planted_faults  # noqa: E402

SEEDS = {"plain": (0, 1, 2, 3), "asan": (0, 1), "tsan": (0, 1)}
HEADER = "  kernel                            sm  registers  limit  static shared  stack  spills"


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Legs:
    """Tasks by leg, run side by side; a task may wait for the result of one that was added before it."""

    def __init__(self) -> None:
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1)
        self._tasks: dict[str, list[Future[tuple[Any, float]]]] = {}

    def add(self, leg: str, task: Callable[..., Any], *arguments: object) -> Future[tuple[Any, float]]:
        """Add a task to a leg; it returns lines, or a path for other tasks, and its time, or raises."""

        def timed() -> tuple[Any, float]:
            values = [value.result()[0] if isinstance(value, Future) else value for value in arguments]
            start = time.perf_counter()
            result = task(*values)
            return result, time.perf_counter() - start

        future = self._workers.submit(timed)
        self._tasks.setdefault(leg, []).append(future)
        return future

    def report(self) -> list[str]:
        """Write what the legs say, in the order in which they were added; return those that failed."""
        failed = []
        for leg, tasks in self._tasks.items():
            say(f"{leg}:")
            seconds = 0.0
            for task in tasks:
                try:
                    text, took = task.result()
                except (AssertionError, RuntimeError, ValueError, OSError, emulator.KernelError) as error:
                    text, took = f"  FAILED: {error}", 0.0
                    failed.append(leg)
                seconds += took
                if isinstance(text, str):
                    say(text)
            say(f"  {seconds:.0f} s")
        return sorted(set(failed))


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
    return "\n".join(f"  {line}" for line in done.stdout.strip().splitlines())


def check_cubin(nvcc: Path, architecture: str, folder: Path) -> str:
    """Registers, shared memory, stack and spills of every kernel, as a table."""
    lines, faults = [], []
    for usage in cuda_toolkit.usages(nvcc, architecture, folder):
        limit = cuda_toolkit.REGISTERS.get(usage.kernel.split("<")[0], 0)
        lines.append(
            f"  {usage.kernel:32} {architecture:>3} {usage.registers:10} {limit:6} {usage.shared:14} "
            f"{usage.stack:6} {usage.spills:7}"
        )
        if usage.complaint():
            faults.append(f"{usage.kernel} on sm_{architecture}: {usage.complaint()}")
    if faults:
        raise RuntimeError("; ".join(faults))
    return "\n".join([HEADER, *lines])


def build_emulation(folder: Path, kind: str) -> Path:
    """Compile the kernels through g++; return the driver's path."""
    (folder / kind).mkdir()
    return emulator.build(folder / kind, kind)


def check_emulation(kind: str, driver: Path) -> str:
    """The kernels through g++ in several thread orders."""
    for seed in SEEDS[kind]:
        with emulator.Emulator(driver, seed) as run:
            cases = kernel_cases.check_all(run, small=kind != "plain")
    return f"  {kind}: {cases} cases in {len(SEEDS[kind])} thread orders"


def check_fault(folder: Path, fault: planted_faults.Fault, driver: Path) -> str:
    """The test of the tests: a planted fault is noticed by the build that must notice it."""
    place = Path(tempfile.mkdtemp(prefix="fault_", dir=folder))
    notice = planted_faults.caught(fault, place, driver.parent)
    shutil.rmtree(place)
    if not notice:
        raise RuntimeError(f"the planted fault '{fault.name}' was not noticed")
    return f"  {fault.name:38} {fault.kind:6} {notice[:86]}"


def make_ptx(nvcc: Path, architecture: str, folder: Path) -> Path:
    """Compile to PTX; return its path."""
    target = folder / f"kernels_{architecture}.ptx"
    cuda_toolkit.make_ptx(nvcc, architecture, target)
    return target


def check_ptx(seed: int, target: Path) -> str:
    """Run nvcc's PTX in one order of threads; sectors a request asserted."""
    lines = run_python("tests/cuda/ptx_cases.py", str(target), str(seed))
    return lines if seed == 0 else f"  the same cases in thread order {seed}"


def compare_ptx(first: Path, second: Path) -> str:
    """The PTX for both architectures is the same, so one run serves both; else the second is run too."""
    texts = [[line for line in path.read_text().splitlines() if ".target" not in line] for path in (first, second)]
    return "  the PTX for both architectures is the same" if texts[0] == texts[1] else check_ptx(3, second)


def check_sectors(nvcc: Path, folder: Path, fault: planted_faults.Fault) -> str:
    """A fault that costs memory sectors is noticed where the PTX runs."""
    place = Path(tempfile.mkdtemp(prefix="sectors_", dir=folder))
    planted_faults.plant(fault, place)
    target = place / "kernels.ptx"
    command = [str(nvcc), "-std=c++17", "-O3", f"-I{place}", "-arch=compute_80", "-ptx", "-o", str(target)]
    subprocess.run([*command, str(cuda_toolkit.SOURCE)], check=True, capture_output=True)
    try:
        check_ptx(0, target)
    except RuntimeError as error:
        notice = str(error).splitlines()[-1]
        if "AssertionError" in notice:
            return f"  {fault.name:38} ptx    {notice[:86]}"
        raise
    raise RuntimeError(f"the planted fault '{fault.name}' was not noticed")


def check_host(folder: Path) -> str:
    """The host sides, over the emulation, give the results and the error texts of the CPU's operators."""
    place = folder / "host"
    place.mkdir()
    return run_python("tests/cuda/host_cases.py", str(place))


def check_module(nvcc: Path, folder: Path) -> str:
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
        "MAX_JOBS": str(max(1, (os.cpu_count() or 1) // 2)),  # the other legs run beside it
        "SPECTRAL_GRAPH_CUDA": "1",
        "TORCH_CUDA_ARCH_LIST": "8.0",  # the first leg compiles the kernels for the others too
        "LIBRARY_PATH": os.pathsep.join(filter(None, [os.environ.get("LIBRARY_PATH", ""), str(libraries)])),
    }
    output = folder / "built"
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(output), "--build-temp", str(folder)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"setup.py fails: {(done.stdout + done.stderr)[-4000:]}")
    module = next(output.rglob("_CUDA*.so"))
    return f"  built, linked, loaded;{run_python('tests/cuda/module_cases.py', str(module))[1:]}"


def add_legs(legs: Legs, nvcc: Path, folder: Path) -> None:
    """Add all tasks, the longest and those that others wait for first."""
    for architecture in cuda_toolkit.ARCHITECTURES:
        legs.add("cubins", check_cubin, nvcc, architecture, folder)
    legs.add("module", check_module, nvcc, folder)
    drivers = {kind: legs.add("build of the emulation", build_emulation, folder, kind) for kind in SEEDS}
    ptx = [legs.add("build of the PTX", make_ptx, nvcc, name, folder) for name in cuda_toolkit.ARCHITECTURES]
    for kind, driver in drivers.items():
        legs.add("emulation against NumPy", check_emulation, kind, driver)
    legs.add("host side", check_host, folder)
    for seed in (0, 3):
        legs.add("PTX", check_ptx, seed, ptx[0])
    legs.add("PTX", compare_ptx, *ptx)
    for fault in planted_faults.SECTOR_FAULTS:
        legs.add("PTX", check_sectors, nvcc, folder, fault)
    for fault in planted_faults.FAULTS:
        legs.add("planted faults", check_fault, folder, fault, drivers[fault.kind])


def main() -> int:
    """Run all legs; return 0 if none fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    nvcc = cuda_toolkit.find_nvcc()
    if nvcc is None:
        say(cuda_toolkit.MISSING)
        return 1
    if reason := emulator.missing():
        say(f"The kernels cannot be emulated here: {reason}.")
        return 1
    say("The CUDA kernels: compiled for sm_80 and sm_90, executed in emulation only.")
    began, legs = time.perf_counter(), Legs()
    with tempfile.TemporaryDirectory() as name:
        add_legs(legs, nvcc, Path(name))
        failed = legs.report()
    say(f"{'FAILED: ' + ', '.join(failed) if failed else 'passed'}, {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
