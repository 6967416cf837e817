"""The local folder's knowledge of the URL at which its run is published.

    RUN/.remote.json    the URL, and the state that both had when they were last the same
    RUN/.remote.jsonl   a line for each file that was moved: path, size, time of the local file, checksum

The lines are written as files are moved, so an interrupted transfer resumes; they also save reading files again for
their checksums. They hold for one URL and one state of it, and are removed otherwise.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.errors import FormatError
from spectral_graph.io.files import decode_json, read_json, remove, write_json
from spectral_graph.io.validation import as_tuple, validated
from spectral_graph.remote.published import Entry, entry_of
from spectral_graph.remote.stage_files import refuse_link

STATE, LINES = ".remote.json", ".remote.jsonl"
_CURE = "remove it and run the same command, which compares the files again"


class _State(TypedDict):
    url: str
    state: str


_FORM = TypeAdapter(_State)
_Line = tuple[str, int, int, str]
_LINE: TypeAdapter[_Line] = TypeAdapter(Annotated[_Line, BeforeValidator(as_tuple)])


class SyncState:
    """The two files of the local folder `run`, for `url`."""

    def __init__(self, run: Path, url: str) -> None:
        self.run, self.url = run, url
        self.state = ""
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, int, str]] = {}
        self._file, self._lines = run / STATE, run / LINES
        refuse_link(self._lines)
        about = None
        if self._file.exists():
            about = validated(read_json(self._file, _CURE), _FORM, self._file, _CURE)
        if about is None or about["url"] != url:
            remove(self._file)
            self.forget()
            return
        self.state = about["state"]
        for line in self._lines.read_bytes().splitlines() if self._lines.exists() else ():
            try:
                path, size, time, sha256 = validated(decode_json(line, self._lines, _CURE), _LINE, self._lines, _CURE)
            except FormatError:  # empty, cut short by a crash, or foreign
                continue
            self._known[path] = (size, time, sha256)

    def forget(self) -> None:
        """Forget which files were moved: those at the URL may have changed."""
        self._known = {}
        remove(self._lines)

    def agree(self, state: str) -> None:
        """Note the state that the folder and the URL have in common."""
        self.state = state
        write_json(self._file, {"url": self.url, "state": state})

    def moved(self, path: str, entry: Entry) -> None:
        """Note that the folder and the URL hold the same file; may be called in several threads."""
        known = (entry.size, (self.run / path).stat().st_mtime_ns, entry.sha256)
        with self._lock:
            self._known[path] = known
            if not self._file.exists():
                self.agree(self.state)
            with self._lines.open("a", encoding="utf-8") as file:
                # The newline comes first: it ends a line that was cut short.
                file.write("\n" + json.dumps([path, *known]))

    def was_moved(self, path: str, entry: Entry) -> bool:
        """Return whether the lines say that this content is at the URL and here."""
        known = self._known.get(path)
        here = known is not None and known[2] == entry.sha256 and (self.run / path).is_file()
        return here and self.entry(path) == entry

    def entry(self, path: str) -> Entry:
        """Return size and checksum of a local file; it is read unless it was moved and not touched since."""
        file = self.run / path
        about = file.stat()
        size, time, sha256 = self._known.get(path, (-1, -1, ""))
        return Entry(size, sha256) if (size, time) == (about.st_size, about.st_mtime_ns) else entry_of(file)
