"""What the local folder of a published run knows about the URL.

    RUN/.remote.json    the URL, and the state that both had when they were last the same
    RUN/.remote.jsonl   a line for each file that was moved: path, size, time of the local file, checksum

The lines are written as files are moved, so an interrupted transfer goes on where it was; they also spare reading files
again for their checksums. They hold for one URL, and for one state of it: both are forgotten otherwise.
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
from spectral_graph.remote.index import Entry, entry_of
from spectral_graph.remote.parts import refuse_link

STATE, LINES = ".remote.json", ".remote.jsonl"
_CURE = "remove it, and the same command compares the files anew"


class _State(TypedDict):
    url: str
    state: str


_FORM = TypeAdapter(_State)
_Line = tuple[str, int, int, str]
_LINE: TypeAdapter[_Line] = TypeAdapter(Annotated[_Line, BeforeValidator(as_tuple)])


class SyncState:
    """The two files above.

    Args:
        run: the local folder.
        url: where it is published.
    """

    def __init__(self, run: Path, url: str) -> None:
        self.run, self.url = run, url
        self.state = ""
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, int, str]] = {}
        refuse_link(run / LINES)
        about = None
        if (run / STATE).exists():
            about = validated(read_json(run / STATE, _CURE), _FORM, run / STATE, _CURE)
        if about is None or about["url"] != url:
            remove(run / STATE)
            self.forget()
            return
        self.state = about["state"]
        lines = run / LINES
        if lines.exists():
            for line in lines.read_bytes().splitlines():
                try:
                    path, size, time, sha256 = validated(decode_json(line, lines, _CURE), _LINE, lines, _CURE)
                except FormatError:  # empty, cut short by a crash, or no line of ours
                    continue
                self._known[path] = (size, time, sha256)

    def forget(self) -> None:
        """Forget which files were moved: those at the URL may have become others."""
        self._known = {}
        remove(self.run / LINES)

    def agree(self, state: str) -> None:
        """Note the state that the folder and the URL have in common."""
        self.state = state
        write_json(self.run / STATE, {"url": self.url, "state": state})

    def moved(self, path: str, entry: Entry) -> None:
        """Note that the folder and the URL hold the same file; may be called in several threads."""
        known = (entry.size, (self.run / path).stat().st_mtime_ns, entry.sha256)
        with self._lock:
            self._known[path] = known
            if not (self.run / STATE).exists():
                self.agree(self.state)
            with (self.run / LINES).open("a", encoding="utf-8") as file:
                # The newline comes first: it ends a line that was cut short.
                file.write("\n" + json.dumps([path, *known]))

    def was_moved(self, path: str, entry: Entry) -> bool:
        """Tell whether this very content is at the URL as well as here, as far as the state knows."""
        known = self._known.get(path)
        here = known is not None and known[2] == entry.sha256 and (self.run / path).is_file()
        return here and self.entry(path) == entry

    def entry(self, path: str) -> Entry:
        """Return size and checksum of a local file, without reading it if it was moved and is untouched since."""
        file = self.run / path
        about = file.stat()
        size, time, sha256 = self._known.get(path, (-1, -1, ""))
        return Entry(size, sha256) if (size, time) == (about.st_size, about.st_mtime_ns) else entry_of(file)
