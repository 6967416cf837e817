"""Tables and named values as plain text of a given width: long texts are wrapped, nothing is cut."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len, chop_cells, set_cell_size

from spectral_graph.text.terminal import printable

WIDTH = 100
"""Line width where there is no terminal."""
NARROWEST = 20
_GAP = 2
_NARROWEST_TEXT = 12


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers, which are aligned right and never wrapped."""

    heading: str
    number: bool = True


def output_width() -> int:
    """Return the width of standard output: COLUMNS if that is set, else the terminal's width, else `WIDTH`."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(int(asked), NARROWEST)
    try:
        columns = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    except ValueError:  # it is closed
        columns = WIDTH
    return max(columns, NARROWEST)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table with aligned columns; the first column names the row.

    Long texts are wrapped. Where that does not suffice, each row becomes a list of named values.

    Args:
        columns: at least one.
        rows: the cells.
        width: of a line, in terminal cells.
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(max(map(cell_len, column.heading.split())), *(cell_len(row[index]) for row in shown), 1)
        for index, column in enumerate(columns)
    ]
    texts = [index for index, column in enumerate(columns) if not column.number]
    while (excess := sum(widths) + _GAP * (len(widths) - 1) - width) > 0:
        widest = max(texts, key=lambda index: widths[index], default=0)
        if not texts or widths[widest] <= _NARROWEST_TEXT:
            return _records(columns, shown, width)
        widths[widest] = max(widths[widest] - excess, _NARROWEST_TEXT)
    head = [wrapped(column.heading, size) for column, size in zip(columns, widths, strict=True)]
    height = max(map(len, head))
    # Headings are aligned at the bottom.
    lines = _lines([[""] * (height - len(cell)) + cell for cell in head], columns, widths)
    for row in shown:
        lines += _lines([wrapped(cell, size) for cell, size in zip(row, widths, strict=True)], columns, widths)
    return lines


def fields(values: Sequence[tuple[str, str]], width: int, indent: int = 0) -> list[str]:
    """Return the lines of named values, the values below each other.

    Args:
        values: (name, value) pairs, at least one.
        width: of a line, in terminal cells.
        indent: spaces before each line.
    """
    names = [printable(name) for name, _ in values]
    left = indent + max(map(cell_len, names)) + _GAP
    if width - left < _NARROWEST_TEXT:  # names and values on alternating lines
        left = min(indent + _GAP, width - 1)
    lines = []
    for name, (_, value) in zip(names, values, strict=True):
        parts = wrapped(printable(value), max(width - left, 1))
        label = " " * indent + name
        if cell_len(label) < left:
            lines.append(set_cell_size(label, left) + parts.pop(0))
        else:
            lines += [" " * indent + part for part in wrapped(name, max(width - indent, 1))]
        lines += [" " * left + part for part in parts]
    return [line.rstrip() for line in lines]


def command_lines(command: str, width: int) -> list[str]:
    """Return a shell command in lines that can be pasted: all but the last one end with a backslash."""
    try:
        words = [printable(shlex.quote(word)) for word in shlex.split(command)]
    except ValueError:  # not valid shell syntax
        return wrapped(printable(command), width)
    lines = [""]
    for word in words:
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width - 2:
            lines[-1] += " \\"
            lines.append("  " + word)
        else:
            lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return [part for line in lines for part in _chopped(line, width)]


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` cells: wrapped between words, and within words that are longer."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            if not lines[-1]:
                lines.pop()
            lines += _chopped(word, width)
    return lines


def _chopped(word: str, width: int) -> list[str]:
    """Return the parts of a word, each at most `width` cells: split after punctuation where there is any."""
    parts = []
    while cell_len(word) > width:
        most = chop_cells(word, width)[0]
        end = max(most.rfind(mark) for mark in "/\\:_-.,") + 1
        end = end if end > len(most) // 2 else len(most)
        parts.append(word[:end])
        word = word[end:]
    return [*parts, word]


def _lines(cells: Sequence[Sequence[str]], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    lines = []
    for texts in zip_longest(*cells, fillvalue=""):
        parts = [
            " " * (size - cell_len(text)) + text if column.number else set_cell_size(text, size)
            for text, column, size in zip(texts, columns, widths, strict=True)
        ]
        lines.append((" " * _GAP).join(parts).rstrip())
    return lines


def _records(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    lines = []
    for row in rows:
        lines += wrapped(row[0], width)
        named = [(column.heading, cell) for column, cell in zip(columns[1:], row[1:], strict=True)]
        lines += fields(named, width, _GAP) if named else []
    return lines
