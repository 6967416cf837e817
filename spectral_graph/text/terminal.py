"""Standard streams: text that every terminal can show, and readers that disconnect.

Standard output holds the result of a command, standard error everything else. If the result cannot be written, the
command ends; notes and progress that cannot be written are dropped, and the work continues.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, TextIO

READER_GONE = 141
"""Exit code where the reader of a result has closed the pipe: 128 + SIGPIPE."""


class _Absent(io.TextIOWrapper):
    """Replaces a stream that was closed when the program began; discards its input."""

    def __init__(self) -> None:
        super().__init__(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: SIM115, PTH123


class Lasting:
    """A stream for notes: after the first failed write it discards its input.

    Characters that the stream cannot encode are written as escapes.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lost = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def write(self, text: str) -> int:
        """Write a text; discard it if the stream is lost."""
        if not self._lost:
            try:
                self._stream.write(encodable(text, self._stream))
            except (OSError, ValueError):
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Flush the stream unless it is lost."""
        if not self._lost:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def _lose(self) -> None:
        self._lost = True
        discard(self._stream)


def printable(text: str) -> str:
    """Return a text as one line without characters that control a terminal.

    Control characters, line breaks, marks of the writing direction and undecodable bytes of a file name become
    escapes: ``\\x1b``, ``\\n``, ``\\u202e``, ``\\xff``.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def encodable(text: str, stream: TextIO) -> str:
    """Return a text with escapes for the characters that the stream cannot encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def prepare() -> None:
    """Make the standard streams safe to write to; called once at program start."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        # This descriptor was closed: the next file that is opened would receive the output of libraries.
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
    """Flush the standard streams; output that cannot be written is dropped, so that Python exits without a message."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            discard(stream)


def write_result(text: str) -> int:
    """Write the result of a command to standard output and return the exit code.

    It is 0 if the result was written, `READER_GONE` if standard output is closed, 2 after any other failure.
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
    """Write a line to standard error, if that is open."""
    stream = Lasting(sys.stderr)
    stream.write(printable(text) + "\n")
    stream.flush()


def discard(stream: TextIO) -> None:
    """Redirect a standard stream, with its buffered output, to the null device."""
    if stream not in (sys.stdout, sys.stderr):
        return
    try:
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
    except (OSError, ValueError):
        return  # it has no file descriptor


def _shown(character: str) -> str:
    code = ord(character)
    if character.isprintable() or (code >= 0xA0 and character.isspace() and code not in (0x2028, 0x2029)):
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
