"""The program's own streams: text that any terminal can show, and readers that go away.

Standard output holds the result of a command, standard error all else. A result that nobody can read ends the command;
notes and progress that nobody can read are dropped, and the work goes on.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import TextIO

READER_GONE = 141
"""Exit code where the reader of a result has closed the pipe: that of a program which SIGPIPE ends."""


class _Absent(io.TextIOWrapper):
    """In the place of a stream that was closed when the program began; swallows what is written."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115, PTH123


class Lasting(io.TextIOBase):
    """A stream for notes: once it cannot be written any more, it swallows what is written.

    Characters that the stream cannot encode are written as escapes.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost = stream, False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Tell whether the stream is a terminal."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write a text, or nothing if the stream is lost."""
        if not self._lost:
            try:
                self._stream.write(encodable(text, self._stream))
            except (OSError, ValueError):
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if it is not lost."""
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def _lose(self) -> None:
        self._lost = True
        discard(self._stream)


def printable(text: str) -> str:
    """Return a text in one line without characters that act on a terminal.

    Control characters, line breaks, marks of the writing direction and bytes of a file name that are not text become
    escapes: ``\\x1b``, ``\\n``, ``\\u202e``, ``\\xff``.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def encodable(text: str, stream: TextIO) -> str:
    """Return a text whose characters the stream can encode; the others become escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def prepare() -> None:
    """Make the streams of the process safe to write to; called once, where the program begins."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        # This descriptor was closed: otherwise the next file that is opened would get what libraries print.
        os.set_inheritable(number, True)
    os.close(number)
    # None where the descriptor was closed when Python began.
    if sys.stdout is None:
        sys.stdout = _Absent()
    if sys.stderr is None:
        sys.stderr = _Absent()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def settle() -> None:
    """Write out what the streams still hold; what cannot be written is dropped, so that Python's end is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            discard(stream)


def write_result(text: str) -> int:
    """Write the result of a command to standard output and return the exit code.

    0 written, `READER_GONE` if standard output is closed, 2 if it cannot be written for another reason.
    """
    if isinstance(sys.stdout, _Absent):
        return READER_GONE
    try:
        sys.stdout.write(encodable(text if text.endswith("\n") else f"{text}\n", sys.stdout))
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return READER_GONE
        say(f"error: standard output: {error.strerror or error}; redirect it to another place")
        return 2
    return 0


def say(text: str) -> None:
    """Write a line to standard error; nothing if it is closed."""
    stream = Lasting(sys.stderr)
    stream.write(printable(text) + "\n")
    stream.flush()


def discard(stream: TextIO) -> None:
    """Lead a stream of the process to nowhere, with what it still holds."""
    if stream not in (sys.stdout, sys.stderr):
        return
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError):
        return  # not a file of the system


def _shown(character: str) -> str:
    code = ord(character)
    if character.isprintable() or (code >= 0xA0 and character.isspace() and code not in (0x2028, 0x2029)):
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
