"""Progress of long work: a bar on a terminal, plain lines elsewhere, with rate and remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from spectral_graph.text.terminal import Lasting, printable

SECONDS_BETWEEN_LINES = 5.0


class Tracker(Protocol):
    """Counts finished units of work."""

    def advance(self, units: int = 1) -> None:
        """Report that `units` more are finished."""


class _Silent:
    def advance(self, units: int = 1) -> None:
        pass


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else "", style="progress.data.speed")


class _Bar:
    def __init__(self, progress: Progress, task: int) -> None:
        self.progress, self.task = progress, task

    def advance(self, units: int = 1) -> None:
        self.progress.advance(self.task, units)  # type: ignore[arg-type]


class _PlainLines:
    """Writes one line every few seconds, and one at the end."""

    def __init__(self, what: str, total: int, unit: str, done: int, stream: TextIO) -> None:
        self.what, self.total, self.unit, self.stream = what, total, unit, stream
        self.done = self.first = done
        self.started = self.last = time.monotonic()

    def advance(self, units: int = 1) -> None:
        self.done += units
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_LINES or self.done == self.total:
            self.last = now
            rate = (self.done - self.first) / max(now - self.started, 1e-9)
            left = f", {(self.total - self.done) / rate:.0f} s left" if rate > 0 and self.done < self.total else ""
            line = f"{self.what}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s{left}"
            print(line, file=self.stream, flush=True)


class Reporter:
    """Reports to the user: notes, and the progress of one task at a time.

    If a write fails (its reader has disconnected, its disk is full), nothing more is shown, and the work continues.

    Args:
        stream: where to write; standard error by default, so that standard output stays free for results.
        quiet: whether to show nothing.
        wording: applied to every note; the command line uses it to write options as flags.
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False, wording: Callable[[str], str] = str) -> None:
        self.stream = cast(TextIO, Lasting(stream if stream is not None else sys.stderr))
        self.quiet, self._wording = quiet, wording
        self.console = Console(file=self.stream, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Write one line; characters that control a terminal become escapes."""
        if not self.quiet:
            self.console.print(Text(printable(self._wording(text))))

    @contextmanager
    def track(self, what: str, total: int, unit: str, done: int = 0) -> Iterator[Tracker]:
        """Show the progress of `what`; an earlier run finished `done` of its `total` units."""
        what = printable(what)
        if self.quiet or total == done:
            yield _Silent()
        elif self.console.is_terminal and not self.console.is_dumb_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                _Rate(unit),
                TimeRemainingColumn(compact=True),
            )
            with Progress(*columns, console=self.console) as progress:
                yield _Bar(progress, progress.add_task(what, total=total, completed=done))
        else:
            yield _PlainLines(what, total, unit, done, self.stream)
