"""Passes over a bank, chunk by chunk; an interrupted process resumes at the chunk where it stopped."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spectral_graph.io.files import write_atomically

SECONDS_BETWEEN_SAVES = 10.0

T = TypeVar("T")


class Passes:
    """Sums over chunks, and how many chunks each pass has done.

    The chunks of a pass must always be the same and come in the same order; then an interrupted computation gives the
    bits of one that was not.

    Args:
        file: where they are kept, an .npz.
        key: what they belong to; what the file holds for another key, or damaged, is dropped.
    """

    def __init__(self, file: Path, key: str) -> None:
        self._file, self._key = file, key
        self._sums: dict[str, np.ndarray] = {}
        self._done: dict[str, int] = {}
        try:
            with np.load(file) as stored:
                if str(stored["key"]) == key:
                    self._done = {name: int(stored[f"done {name}"]) for name in stored["passes"].tolist()}
                    self._sums = {name: stored[f"sum {name}"] for name in stored["sums"].tolist()}
        except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self._sums, self._done = {}, {}

    def sum(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the float64 array that a pass adds to in place; zeros at first."""
        return self._sums.setdefault(name, np.zeros(shape))

    def restart(self, name: str, total: str) -> None:
        """Forget a pass and its sum."""
        self._done.pop(name, None)
        self._sums.pop(total, None)

    def over(self, name: str, chunks: Iterable[T], before_save: Callable[[], None] | None = None) -> Iterator[T]:
        """Yield the chunks that the pass has not done; what was yielded counts as done when the next is asked for.

        Args:
            name: of the pass.
            chunks: all chunks.
            before_save: called before it is noted how far the pass came.
        """
        saved, new = time.monotonic(), False
        for index, chunk in enumerate(chunks):
            if index < self._done.get(name, 0):
                continue
            yield chunk
            self._done[name], new = index + 1, True
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                self._save(before_save)
                saved, new = time.monotonic(), False
        if new:
            self._save(before_save)

    def _save(self, before: Callable[[], None] | None) -> None:
        if before is not None:
            before()
        arrays: dict[str, Any] = {f"sum {name}": value for name, value in self._sums.items()}
        arrays |= {f"done {name}": np.array(count) for name, count in self._done.items()}
        arrays |= {"key": np.array(self._key), "passes": np.array(list(self._done), str)}
        arrays["sums"] = np.array(list(self._sums), str)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file, buffer.getvalue())
