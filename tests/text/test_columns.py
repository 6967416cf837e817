"""Tables and named values fit the width and keep all characters."""

from __future__ import annotations

import shlex
import subprocess
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from spectral_graph.text.columns import Column, command_lines, fields, table, wrapped
from spectral_graph.text.terminal import printable

TEXT = st.text(st.sampled_from("ab 1-/._\u732b\u00e9\x1b\n\udcff"), max_size=40)
WIDTHS = st.integers(20, 120)


def letters(text: str) -> str:
    return "".join(text.split())


@given(st.lists(st.tuples(TEXT, st.integers(-(10**7), 10**7), TEXT), max_size=5), WIDTHS)
@settings(max_examples=60, deadline=None)
def test_table_fits_and_is_complete(rows, width):
    columns = [Column("name", False), Column("how many"), Column("reason", False)]
    cells = [[name, str(number), reason] for name, number, reason in rows]
    lines = table(columns, cells, width)
    assert all(cell_len(line) <= width for line in lines)
    shown = Counter(letters("".join(lines)))
    shown.subtract(letters("".join(printable(cell) for row in cells for cell in row)))
    assert min(shown.values(), default=0) >= 0  # headings are there, too
    for _, number, _ in rows:
        assert any(str(number) in line for line in lines)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), WIDTHS, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_named_values_fit_and_are_complete(values, width, indent):
    lines = fields(values, width, indent)
    assert all(cell_len(line) <= width for line in lines)
    expected = "".join(letters(printable(part)) for pair in values for part in pair)
    assert sorted(letters("".join(lines))) == sorted(expected)


@given(TEXT.map(printable), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_wrapped_text_is_complete(text, width):
    parts = wrapped(text, width)
    assert all(cell_len(part) <= width for part in parts)
    assert letters("".join(parts)) == letters(text)


def test_wrapped_command_is_the_same_command():
    words = ["spectral-graph", "build", "--root", "my photos/it's", *(f"--option-{i}={i}" for i in range(30))]
    lines = command_lines(shlex.join(words), 60)
    assert len(lines) > 5 and max(map(len, lines)) <= 60
    pasted = subprocess.check_output(["sh", "-c", "printf '%s\\n' " + "\n".join(lines)], text=True)
    assert pasted.splitlines() == words
    assert command_lines("not 'a command", 60) == ["not 'a command"]


def test_columns_are_aligned():
    lines = table([Column("name", False), Column("size")], [["a", "5"], ["longer", "1,234"]], 80)
    assert lines == ["name     size", "a           5", "longer  1,234"]
