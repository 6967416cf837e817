"""What libraries warn of and log while the command line runs: notes of one line, each once."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from spectral_graph.progress import Reporter
from spectral_graph.text.terminal import say

_SILENCE = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}
"""Environment variables that these libraries read when they are imported."""
_ALWAYS = "UncompiledWarning"
"""The warning that is shown also with --quiet: everything takes many times as long."""


@contextmanager
def as_notes(reporter: Reporter) -> Iterator[None]:
    """Turn warnings and log records of libraries into notes while the context is open.

    A quiet reporter shows none of them but the warning about operators that are not compiled, and log records of
    errors.

    Args:
        reporter: where the notes go.
    """
    seen: set[str] = set()

    def note(text: str, always: bool) -> None:
        if text not in seen:
            seen.add(text)
            say(text) if reporter.quiet and always else reporter.note(text)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        place = "/".join(Path(filename).parts[-3:])
        note(f"{category.__name__}: {message} ({place}:{lineno})", category.__name__ == _ALWAYS)

    class Records(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(f"{record.name}: {record.getMessage()}", record.levelno >= logging.ERROR)

    records, root = Records(logging.WARNING), logging.getLogger()
    added = {name: value for name, value in _SILENCE.items() if reporter.quiet and name not in os.environ}
    os.environ.update(added)
    root.addHandler(records)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            # Pillow on damaged metadata and on photos of 90 megapixels: it names no file, and the pixels are read.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        root.removeHandler(records)
        for name in added:
            os.environ.pop(name, None)
