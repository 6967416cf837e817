"""Where the program begins: Ctrl-C ends it without a traceback from here on, also while modules are being imported."""

from __future__ import annotations

import os
import signal
import sys

from spectral_graph.text import terminal

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

STOPPED = 130


def main(arguments: Sequence[str] | None = None, program: str = "spectral-graph") -> int:
    """Run `spectral_graph.cli.commands.main` and return its exit code."""
    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler
    try:
        if ours:
            signal.signal(signal.SIGINT, _stop)
    except ValueError:  # in a thread, which gets no Ctrl-C
        ours = False
    try:
        terminal.prepare()
        from spectral_graph.cli import commands

        return commands.main(arguments, program)
    except KeyboardInterrupt:  # before there was anything to resume
        return STOPPED
    finally:
        terminal.settle()
        if ours:
            signal.signal(signal.SIGINT, before)


def _stop(number: int, frame: FrameType | None) -> None:
    # Extension modules that are being imported turn a KeyboardInterrupt into other errors, or abort the process.
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    if any(getattr(spec, "_initializing", False) for spec in specs):
        os._exit(STOPPED)
    signal.default_int_handler(number, frame)
