"""Remembers the sources that a long check of the operators has passed on, so that a clean clone need not repeat it.

`make sanitize` and `make cuda-check` take many minutes and depend only on the files and programs that are digested
here. When one passes, make records the digest in tools/checked.json, which is committed. `.ci/run` runs a check only
if its digest is another: after a change of the operators, of their cases, of the compiler or of torch.

    python tools/checked.py passed sanitize   # exit status 0: it passed on these sources
    python tools/checked.py record sanitize
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "tools" / "checked.json"

_OPERATORS = ("csrc", "spectral_graph/ops", "spectral_graph/errors.py", "setup.py")
SOURCES = {
    "sanitize": (*_OPERATORS, "tests/sanitize", "tools/sanitize.py"),
    "cuda-check": (*_OPERATORS, "tests/cuda", "tools/cuda_check.py", "tools/cuda_toolkit.py"),
}
"""Files and folders that each check depends on, relative to the root of the repository."""

UNUSED = ("spectral_graph/ops/describe.py",)
"""Files among them that no check imports: the tables of `spectral-graph info --backends`."""


def digest(check: str) -> str:
    """Return SHA-256 of the sources of a check, and of the versions of the compiler, the processor and torch."""
    total = hashlib.sha256()
    for source in SOURCES[check]:
        place = ROOT / source
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        for path in files:
            if path.suffix in (".pyc", ".so") or path.relative_to(ROOT).as_posix() in UNUSED:
                continue
            total.update(f"{path.relative_to(ROOT).as_posix()}\0{path.stat().st_size}\0".encode())
            total.update(path.read_bytes())
    total.update("\0".join((_compiler(), platform.machine(), version("torch"), version("numpy"))).encode())
    return total.hexdigest()


def passed(check: str) -> bool:
    """Whether the check passed on these sources."""
    return _read().get(check) == digest(check)


def record(check: str) -> None:
    """Write down that the check passed on these sources."""
    RECORD.write_text(json.dumps({**_read(), check: digest(check)}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read() -> dict[str, str]:
    try:
        found = json.loads(RECORD.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _compiler() -> str:
    command = ["g++", "-dumpfullversion"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["passed", "record"])
    parser.add_argument("check", choices=list(SOURCES))
    arguments = parser.parse_args()
    if arguments.what == "record":
        record(arguments.check)
    same = passed(arguments.check)
    sys.stdout.write(f"{arguments.check}: {'passed' if same else 'not yet run'} on these sources\n")
    sys.exit(0 if same else 1)
