"""A hard cap on the memory of a child process: a control group where one can be made, else a limit of its data."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cap:
    """What holds a child to `limit` bytes.

    Attributes:
        limit: in bytes.
        kind: in words.
        group: folder of the control group; it counts the pages of files, too. None where only data are limited.
        peak: file in it that holds the largest memory so far.
    """

    limit: int
    kind: str
    group: Path | None = None
    peak: Path | None = None

    def enter(self) -> None:
        """Put this process under the cap; children inherit it."""
        if self.group is None:
            resource.setrlimit(resource.RLIMIT_DATA, (self.limit, self.limit))
        else:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def run(self, command: Sequence[str]) -> str:
        """Run a command under the cap and return what it prints.

        Raises:
            SystemExit: it failed.
        """
        child = subprocess.run(command, preexec_fn=self.enter, stdout=subprocess.PIPE, text=True)
        if child.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}, under {self.kind}")
        return child.stdout

    def peak_bytes(self) -> int | None:
        """Return the largest memory of the group, pages of files included."""
        with suppress(OSError):
            if self.peak is not None:
                return int(self.peak.read_text())
        return None


@contextmanager
def capped(limit: int) -> Iterator[Cap]:
    """Yield a cap: the first of control group version 1, version 2 and RLIMIT_DATA that works."""
    for root, file, peak, words in (
        (V1, "memory.limit_in_bytes", "memory.max_usage_in_bytes", "control group (version 1)"),
        (V2, "memory.max", "memory.peak", "control group (version 2)"),
    ):
        group = root / f"spectral-graph-{os.getpid()}-{time.monotonic_ns()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(limit))
            with suppress(OSError):
                (group / "memory.swap.max").write_text("0")
        except OSError:
            group.rmdir()
            continue
        try:
            yield Cap(limit, words, group, group / peak)
        finally:
            with suppress(OSError):  # a child that outlives us keeps it
                group.rmdir()
        return
    yield Cap(limit, "RLIMIT_DATA, which leaves out the pages of files")
