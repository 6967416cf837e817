"""What a benchmark answers: a row a peer, shown as a table, written as JSON and as a plot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """Ours against one peer.

    Attributes:
        question: what is asked.
        shape: of the problem, in words.
        ours_s: seconds.
        peer: its name.
        peer_s: seconds.
        limit_fraction: the time that the measured limits of the machine allow, as a fraction of ours; it can exceed 1
            where the data stay in the caches, which a copy through memory does not measure.
        operations: floating-point operations of the problem.
        moved: bytes that must at least be moved.
        channels: C, where there is a plot over C.
        graph: name of the graph, for the plot.
        ours_bytes: peak memory of a call above what it was given and what it returns; None where not measured.
        peer_bytes: the same of the peer.
        limit_s: seconds of a call that only does what no other can do without; None where there is none.
    """

    question: str
    shape: str
    ours_s: float
    peer: str
    peer_s: float
    limit_fraction: float
    operations: float
    moved: float
    channels: int | None
    graph: str
    ours_bytes: int | None = None
    peer_bytes: int | None = None
    limit_s: float | None = None

    @property
    def ratio(self) -> float:
        """How many times faster than the peer ours is."""
        return self.peer_s / self.ours_s

    @property
    def ratio_at_limit(self) -> float | None:
        """How many times faster than the peer one would be that takes no longer than the limit."""
        return None if self.limit_s is None else self.peer_s / self.limit_s

    def record(self) -> dict[str, str | float]:
        """Return what the JSON holds of it; sizes and the limit only where they were measured."""
        measured = {
            "ours_bytes": self.ours_bytes,
            "peer_bytes": self.peer_bytes,
            "limit_s": self.limit_s,
            "ratio_at_limit": self.ratio_at_limit,
        }
        return {
            "question": self.question,
            "shape": self.shape,
            "ours_s": self.ours_s,
            "peer": self.peer,
            "peer_s": self.peer_s,
            "ratio": self.ratio,
            "limit_fraction": self.limit_fraction,
            **{name: figure for name, figure in measured.items() if figure is not None},
        }


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="write a PNG of throughput over C here, where there are several C")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch and its peers")
    parser.add_argument("--seconds", type=float, default=1.0, help="least time for each comparison")
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, with torch set to their number of threads."""
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    return options


def add_channels(parser: argparse.ArgumentParser, rows: int | None = None) -> None:
    """Add the numbers of columns C, and the number of rows where there is no graph to give it."""
    if rows is not None:
        parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 50, 128])


def skipped(name: str, reason: str) -> None:
    """Say that a peer is left out, and why."""
    print(f"{name} is left out: {reason}")


def show(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Print the table, and write the files that the options ask for."""
    table = Table(title=f"{options.threads} threads; medians of calls that take turns")
    for name in ("question", "shape"):
        table.add_column(name, overflow="fold")
    for name in ("ours ms", "GFLOP/s", "GB/s", "of limit"):
        table.add_column(name, justify="right")
    table.add_column("peer")
    sized = any(row.ours_bytes is not None for row in rows)
    limited = any(row.limit_s is not None for row in rows)
    optional = (*(("limit ms", "at limit") if limited else ()), *(("extra MB", "peer's") if sized else ()))
    for name in ("peer ms", "ratio", *optional):
        table.add_column(name, justify="right")
    before = None
    for row in rows:
        head = (
            row.question,
            row.shape,
            f"{row.ours_s * 1e3:.2f}",
            f"{row.operations / row.ours_s / 1e9:.1f}",
            f"{row.moved / row.ours_s / 1e9:.1f}",
            f"{row.limit_fraction:.2f}",
        )
        sizes = [f"{size / 1e6:.1f}" if size is not None else "" for size in (row.ours_bytes, row.peer_bytes)]
        limits = ["", ""]
        if row.limit_s is not None:
            limits = [f"{row.limit_s * 1e3:.2f}", f"{row.ratio_at_limit:.2f}"]
        table.add_row(
            *(head if head != before else [""] * len(head)),
            row.peer,
            f"{row.peer_s * 1e3:.2f}",
            f"{row.ratio:.2f}",
            *(limits if limited else ()),
            *(sizes if sized else ()),
        )
        before = head
    Console(width=None if Console().is_terminal else 160).print(table)
    if options.json:
        options.json.write_text(json.dumps([row.record() for row in rows], indent=2) + "\n")
    if options.plot:
        plot(rows, options.plot)


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw GFLOP/s over C, a panel for each question and graph and a line for each backend; without C nothing."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.channels is not None:
            panels.setdefault((row.question, row.graph), []).append(row)
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.6), squeeze=False, layout="constrained")
    for axis, ((question, graph), part) in zip(axes[0], panels.items(), strict=True):
        lines: dict[str, dict[int, float]] = {"ours": {}}
        for row in part:
            assert row.channels is not None
            lines["ours"][row.channels] = row.operations / row.ours_s / 1e9
            lines.setdefault(row.peer, {})[row.channels] = row.operations / row.peer_s / 1e9
        for name, points in lines.items():
            order = sorted(points)
            axis.plot(order, [points[c] for c in order], "o-", label=name, linewidth=2.5 if name == "ours" else 1.2)
        axis.set(title=f"{question}, {graph}", xlabel="C", ylabel="GFLOP/s", ylim=(0, None))
        axis.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)
