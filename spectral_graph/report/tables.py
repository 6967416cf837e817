"""Tables, and those on the run: graphs, solutions, stages, options, versions, files, images left out, licences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from spectral_graph.report.content import ALL_LAYERS, FileEntry, GraphRow, PhotoLicence, SolverFacts, StageFacts
from spectral_graph.text.formatting import DASH, count, decimal, duration, joined, percent, plain, size


@dataclass(frozen=True)
class Cell:
    """A cell that is more than its text."""

    text: str
    exact: str = ""  # the exact value where `text` is rounded, shown on hover
    best: bool = False  # whether it is the best of its column or row
    link: str = ""  # address; only http and https are made links


@dataclass(frozen=True)
class Column:
    """One column and its cells."""

    label: str
    cells: Sequence[str | Cell]
    meaning: str = ""  # a sentence that is shown under the table
    group: str = ""  # heading over neighbouring columns
    number: bool = True  # whether it holds numbers, which are aligned right
    code: bool = False  # whether its cells are set as code


@dataclass(frozen=True)
class Table:
    """A table; its first column names the row, and its last `n_totals` rows are totals."""

    name: str  # unique on the page
    caption: str
    columns: Sequence[Column]
    n_totals: int = 0
    terms: Sequence[tuple[str, str]] = ()  # (term, sentence) pairs before the meanings of the columns

    @property
    def rows(self) -> list[list[Cell]]:
        """The rows, totals included."""
        rows = zip(*(column.cells for column in self.columns), strict=True)
        return [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]

    @property
    def key(self) -> list[tuple[str, str]]:
        """(term, sentence) pairs that explain the columns."""
        return [*self.terms, *((column.label, column.meaning) for column in self.columns if column.meaning)]

    @property
    def groups(self) -> list[tuple[str, list[Column]]]:
        """Neighbouring columns of one group, in order; columns without a group stand alone."""
        runs = groupby(self.columns, key=lambda column: column.group or column.label)
        return [(columns[0].group, columns) for columns in (list(run) for _, run in runs)]


def text_column(label: str, cells: Iterable[str | Cell], code: bool = False) -> Column:
    """Return a column of texts, which are aligned left."""
    return Column(label, list(cells), number=False, code=code)


def _rounded(text: str, value: float | None, unit: str = "") -> Cell:
    return Cell(text, exact="" if value is None else f"{value!r}{unit}")


_Format = Callable[[Any], str]

# Heading, entry of the graph's facts, format, explanation.
_GRAPH_FACTS: tuple[tuple[str, str, _Format, str], ...] = (
    ("Nodes", "nodes", count, "grid cells of all images."),
    ("Stored edges", "stored_edges", count,
     "entries of the symmetric affinity matrices of all blocks; each pair of neighbours counts twice."),
    ("Isolated nodes", "isolated_nodes", count,
     "nodes whose affinities are below the threshold in every block; they have no edges and do not affect the "
     "eigenvectors."),
    ("Short of neighbours, %", "share_with_fewer_neighbours", percent,
     "nodes with fewer neighbours than the options ask for, because no more reach the threshold or the lists of hubs "
     "were cut."),
    ("In-degree quantiles", "in_degree_quantiles",
     lambda found: " / ".join(count(value) for value in (found or {}).values()) or DASH,
     "upper bounds of the in-degree (how many nodes chose a node as a neighbour) for {shares} of the nodes."),
    ("Largest in-degree", "largest_in_degree", count,
     "in-degree of the node that was chosen most often; a very large value indicates a hub."),
    ("Mean degree", "mean_degree", "{:.2f}".format, "sum of a node's edge weights, averaged over the nodes."),
    ("Components", "components", count, "connected components; an isolated node is one."),
    ("Threshold", "threshold", decimal, "affinities below this cosine were dropped."),
    ("Recall", "recall", decimal,
     "share of the true nearest neighbours that the search found, measured on a sample; 1 for exact search."),
)  # fmt: skip


def graph_table(graphs: Sequence[GraphRow]) -> Table:
    """Return the facts of each graph, at least one, the totals of the pathways last."""
    totals = [graph for graph in graphs if graph.layer == ALL_LAYERS]
    graphs = [graph for graph in graphs if graph.layer != ALL_LAYERS] + totals
    facts = [{**graph.facts, "threshold": graph.threshold} for graph in graphs]
    shares = joined([f"{float(share):.0%}" for share in facts[0].get("in_degree_quantiles", {})]) or "a share"
    columns = [
        text_column("Pathway", (graph.pathway for graph in graphs)),
        text_column("Layer", (graph.layer for graph in graphs)),
        text_column("Kind", (graph.kind for graph in graphs)),
    ]
    for label, name, form, meaning in _GRAPH_FACTS:
        columns.append(Column(label, [form(fact.get(name)) for fact in facts], meaning.format(shares=shares)))
    return Table("graphs-table", "The graphs of each pathway and layer", columns, len(totals))


def eigenvalue_table(eigenvalues: Mapping[str, Sequence[float]], residuals: Mapping[str, Sequence[float]]) -> Table:
    """Return all eigenvalues, one row an index and one column a pathway, with their residuals where they are known."""
    series: dict[str, list[Cell]] = {}
    for name, values in eigenvalues.items():
        series[name] = [_rounded(decimal(value, 6), float(value)) for value in values]
        if residuals.get(name):
            series[f"{name}, residual"] = [_rounded(f"{value:.1e}", float(value)) for value in residuals[name]]
    rows = list(zip_longest(*series.values(), fillvalue=Cell(DASH)))
    columns = [Column("Index", [str(number + 1) for number in range(len(rows))])]
    columns += [Column(name, cells) for name, cells in zip(series, zip(*rows, strict=True), strict=True)]
    return Table("eigenvalues-table", "All eigenvalues", columns)


def solver_table(solvers: Sequence[SolverFacts]) -> Table:
    """Return how good the solution of each pathway is; `solvers` has at least one entry."""
    columns = [
        text_column("Pathway", (facts.pathway for facts in solvers)),
        text_column("Solver", (facts.solver for facts in solvers)),
        Column(
            "Value of Eqn. 3",
            [_rounded(decimal(facts.value, 6), facts.value) for facts in solvers],
            "the paper's objective at the orthonormalised solution, mean over the eigenvectors.",
        ),
        Column(
            "Optimum",
            [_rounded(decimal(facts.optimum, 6), facts.optimum) for facts in solvers],
            "value of the exact solution of Eqn. 3; a dash where it was not computed (--optimality).",
        ),
        Column(
            "Subspace found",
            [
                DASH if facts.overlap is None else _rounded(f"{100 * facts.overlap:.2f} %", facts.overlap)
                for facts in solvers
            ],
            "mean squared cosine of the principal angles to the exact solution; 100 % is the whole subspace.",
        ),
        Column(
            "Largest angle",
            [DASH if facts.largest_angle is None else f"{facts.largest_angle:.2f} degrees" for facts in solvers],
            "largest of these principal angles.",
        ),
        Column(
            "Off-diagonal",
            [f"{facts.off_diagonal:.1e}" for facts in solvers],
            "largest off-diagonal entry of X_ortho^T X_ortho, relative to the largest diagonal entry.",
        ),
    ]
    return Table("solver-table", "The solutions", columns)


def stage_table(stages: Sequence[StageFacts]) -> Table:
    """Return time and memory of each stage, and their sum and maximum."""
    seconds, peaks = [stage.seconds for stage in stages], [stage.peak_bytes for stage in stages]
    names, states = [stage.name for stage in stages], [stage.state for stage in stages]
    n_totals = int(len(stages) > 1)
    if n_totals:
        seconds, names, states = [*seconds, sum(seconds)], [*names, "all"], [*states, ""]
        peaks = [*peaks, max((peak for peak in peaks if peak is not None), default=None)]
    columns = [
        text_column("Stage", names),
        Column(
            "Time",
            [Cell(duration(value), exact=f"{value:.6g} seconds") for value in seconds],
            "wall-clock time; for a stage kept from an earlier run, the time it took then.",
        ),
        Column(
            "Peak memory",
            [_rounded(size(peak), peak, " bytes") for peak in peaks],
            "peak memory of the process in the stage, in decimal units.",
        ),
        text_column("State", states),
    ]
    return Table("stages-table", "Stages", columns, n_totals)


def option_tables(options: Mapping[str, Mapping[str, object]]) -> list[Table]:
    """Return one table for each section that has options."""
    return [
        Table(
            f"options-table-{number}",
            section,
            [
                text_column("Option", values, code=True),
                text_column("Value", (plain(value) or DASH for value in values.values()), code=True),
            ],
        )
        for number, (section, values) in enumerate(options.items(), start=1)
        if values
    ]


def version_table(versions: Mapping[str, str]) -> Table:
    """Return the versions of the programs used."""
    columns = [text_column("Program", versions), text_column("Version", versions.values(), code=True)]
    return Table("versions-table", "Versions", columns)


def file_table(files: Sequence[FileEntry]) -> Table:
    """Return the contents of the run directory."""
    columns = [
        text_column("File or folder", (entry.path for entry in files), code=True),
        text_column("Content", (entry.description for entry in files)),
        Column("Size", [_rounded(size(entry.bytes), entry.bytes, " bytes") for entry in files]),
    ]
    return Table("files-table", "The run directory", columns)


def skipped_table(skipped: Sequence[tuple[str, str]]) -> Table:
    """Return the images that were left out, and why."""
    images, reasons = zip(*skipped, strict=True)
    return Table(
        "skipped-table", "Images left out", [text_column("Image", images, code=True), text_column("Reason", reasons)]
    )


def licence_table(licences: Sequence[PhotoLicence]) -> Table:
    """Return the licences of the photos of the gallery."""
    columns = [
        text_column("Photo", (entry.image for entry in licences)),
        text_column("Licence", (entry.licence for entry in licences)),
        text_column("Source", (Cell(entry.url or DASH, link=entry.url) for entry in licences)),
    ]
    return Table("licences-table", "Photos in the gallery", columns)
