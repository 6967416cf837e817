"""A table as the template shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        label: its heading.
        group: the heading over it and its neighbours of the same group; empty for none.
        number: whether it holds numbers, which are set flush right.
    """

    label: str
    group: str = ""
    number: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what is shown.
        exact: the exact value where `text` is rounded, shown on hover; empty for none.
        best: whether it is the best of its column or row.
        link: where it leads; empty for nowhere. Only http and https are made links.
        code: whether it is set as code.
    """

    text: str
    exact: str = ""
    best: bool = False
    link: str = ""
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a heading and the meaning of its columns.

    Attributes:
        name: unique on the page.
        caption: what it shows, in a few words.
        columns: the columns; the first one names the row.
        rows: one list of cells a row.
        totals: rows under the line.
        key: (term, sentence) pairs that explain the columns.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    totals: Sequence[Sequence[Cell]] = ()
    key: Sequence[tuple[str, str]] = field(default=())

    @property
    def groups(self) -> list[tuple[str, list[Column]]]:
        """Neighbouring columns of one group, in order; columns without a group stand alone."""
        runs: list[tuple[str, list[Column]]] = []
        for column in self.columns:
            if column.group and runs and runs[-1][0] == column.group:
                runs[-1][1].append(column)
            else:
                runs.append((column.group, [column]))
        return runs


def mark_best(texts: Sequence[str], values: Sequence[float | None], highest: bool = True) -> list[bool]:
    """Return which of the values is the best as shown; ties are all best, and one value alone is no contest.

    Args:
        texts: how the values are shown: what looks equal is equally good.
        values: None, or not finite, where there is none.
        highest: whether more is better.
    """
    sign = 1 if highest else -1
    known = [(sign * (value or 0.0), text) for value, text in zip(values, texts, strict=True) if _known(value)]
    if len(known) < 2:
        return [False] * len(values)
    best = max(known)[1]
    return [_known(value) and text == best for value, text in zip(values, texts, strict=True)]


def _known(value: float | None) -> bool:
    return value is not None and float("-inf") < value < float("inf")
