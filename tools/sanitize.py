"""Runs the CPU operators under AddressSanitizer and UndefinedBehaviorSanitizer: make sanitize.

The compiled sources of the operators are built once more with both sanitizers and with the index checks of libstdc++,
under build/sanitize, where objects of unchanged sources are used again. Their cases run on the AVX2 and on the portable
path, and planted faults show that a fault would be noticed. It needs g++ and the environment of the project. What it
does not show: accesses inside vector instructions with a mask, and races between threads.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "sanitize"))

import cpu_faults  # noqa: E402
import sanitized_build  # noqa: E402


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_paths(module: Path) -> list[str]:
    """Run the cases on both paths side by side; return the failures."""

    def run(path: str) -> str:
        try:
            return sanitized_build.run_cases(module, path).replace("passed ", "").replace("\n", " ").strip()
        except sanitized_build.SanitizerError as error:
            return f"FAILED: {error}"

    with ThreadPoolExecutor(2) as workers:
        results = list(workers.map(run, sanitized_build.PATHS))
    lines = [f"{path}: {result}" for path, result in zip(sanitized_build.PATHS, results, strict=True)]
    for line in lines:
        say(f"  {line}")
    return [line for line in lines if "FAILED" in line]


def check_faults(folder: Path) -> list[str]:
    """Plant every fault; return those that were not reported as they must be."""

    def plant(fault: cpu_faults.Fault) -> str:
        return cpu_faults.caught(fault, folder / fault.file)

    with ThreadPoolExecutor(2) as workers:
        reports = list(workers.map(plant, cpu_faults.FAULTS))
    for fault, report in zip(cpu_faults.FAULTS, reports, strict=True):
        say(f"  {fault.name:36} {fault.path:9} {report[:120] or 'NOT REPORTED'}")
    return [fault.name for fault, report in zip(cpu_faults.FAULTS, reports, strict=True) if fault.report not in report]


def main() -> int:
    """Run everything; return 0 if no fault but the planted ones was reported."""
    if reason := sanitized_build.missing():
        say(f"The operators cannot be built with sanitizers here: {reason}.")
        return 1
    began = time.perf_counter()
    try:
        module = sanitized_build.build()
        say(f"built in {time.perf_counter() - began:.0f} s; cases under ASan and UBSan:")
        failures = check_paths(module)
        say("planted faults:")
        with tempfile.TemporaryDirectory() as folder:
            failures += check_faults(Path(folder))
    except sanitized_build.SanitizerError as error:
        failures = [str(error)]
        say(str(error))
    say(f"{'FAILED' if failures else 'passed'}, {time.perf_counter() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
