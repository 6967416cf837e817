"""Peak resident memory of a piece of work, and the memory limit of the process."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_STATUS = Path("/proc/self/status")
_STATM = Path("/proc/self/statm")
_CLEAR = Path("/proc/self/clear_refs")
_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
UNKNOWN_BYTES = 8 << 30
"""Assumed memory of a machine whose system does not report it."""


def reset_peak() -> None:
    """Start a new measurement of the peak where the system allows it (Linux); elsewhere the process's peak counts.

    Memory that earlier work has freed returns to the system first, so that it does not count again.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None  # glibc only
    if trim is not None:
        trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="utf-8")  # proc(5): resets the peak resident set size


def peak_bytes() -> int:
    """Return the largest resident set size in bytes since `reset_peak`, memory-mapped files included; 0 if unknown."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_bytes() -> int:
    """Return the memory of the machine, or the limit of the control groups of this process if that is less."""
    limits, groups = [_machine_bytes()], ""
    with suppress(OSError):
        groups = _GROUPS.read_text(encoding="utf-8", errors="surrogateescape")
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root, name = (_ROOT / "memory", "memory.limit_in_bytes") if controllers else (_ROOT, "memory.max")
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents):
                limits += _number(group / name)
                if group == root:
                    break
    return min(limits)


def left_bytes() -> int:
    """Return `limit_bytes` less the resident memory of this process without pages of files; at least 0."""
    try:
        _, resident, shared, *_ = map(int, _STATM.read_text(encoding="utf-8").split())
    except OSError:
        return limit_bytes()
    return max(0, limit_bytes() - (resident - shared) * mmap.PAGESIZE)


def _machine_bytes() -> int:
    """Return the memory of the machine, UNKNOWN_BYTES where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a name that the system does not know
        return UNKNOWN_BYTES


def _number(file: Path) -> list[int]:
    """Return the number in a file; nothing if the file is missing or holds the word "max"."""
    try:
        return [int(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return []
