"""The tables on the run itself: graphs, spectrum, stages, options, versions, files, skipped images, licences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spectral_graph.report.content import ALL_LAYERS, FileEntry, GraphFacts, PhotoLicence, SolverFacts, StageFacts
from spectral_graph.report.table import Cell, Column, Table
from spectral_graph.text.formatting import DASH, count, decimal, duration, joined, percent, plain, size


def graph_table(graphs: Sequence[GraphFacts]) -> Table:
    """Return the facts on each graph, the totals of the pathways last.

    Args:
        graphs: at least one.
    """
    columns = [
        Column("Pathway", number=False),
        Column("Layer", number=False),
        Column("Kind", number=False),
        Column("Nodes"),
        Column("Stored edges"),
        Column("Isolated nodes"),
        Column("Short of neighbours, %"),
        Column("In-degree quantiles"),
        Column("Largest in-degree"),
        Column("Mean degree"),
        Column("Components"),
        Column("Threshold"),
        Column("Recall"),
    ]
    rows = [_graph_row(graph) for graph in graphs if graph.layer != ALL_LAYERS]
    totals = [_graph_row(graph) for graph in graphs if graph.layer == ALL_LAYERS]
    key = [
        ("Node", "one grid cell of one image."),
        (
            "Stored edges",
            "entries of the symmetric affinity matrices of all blocks; each pair of neighbours is there twice.",
        ),
        (
            "Isolated node",
            "a node none of whose affinities reaches the threshold in any block: it has no edge and no say.",
        ),
        (
            "Short of neighbours",
            "nodes that chose fewer neighbours than were asked for, because no more reach the threshold or lists of "
            "hubs were cut.",
        ),
        ("In-degree quantiles", _quantile_words(graphs)),
        ("Largest in-degree", "how many nodes chose the most popular node as a neighbour; a huge value betrays a hub."),
        ("Mean degree", "the sum of a node's edge weights, averaged over the nodes."),
        ("Components", "parts of the graph without an edge between them; an isolated node is a part of its own."),
        ("Threshold", "affinities below this cosine were dropped."),
        (
            "Recall",
            "the share of the true neighbours that the search found, measured on a sample; 1 where it is exact.",
        ),
    ]
    return Table("graphs-table", "The graphs of each pathway and layer", columns, rows, totals, key)


def _graph_row(graph: GraphFacts) -> list[Cell]:
    return [
        Cell(graph.pathway),
        Cell(graph.layer),
        Cell(graph.kind),
        Cell(count(graph.nodes)),
        Cell(count(graph.edges)),
        Cell(count(graph.isolated)),
        Cell(percent(graph.short_share)),
        Cell(" / ".join(count(value) for _, value in graph.in_degrees) or DASH),
        Cell(count(graph.max_in_degree)),
        Cell(f"{graph.mean_degree:.2f}"),
        Cell(count(graph.components)),
        Cell(decimal(graph.threshold)),
        Cell(decimal(graph.recall)),
    ]


def _quantile_words(graphs: Sequence[GraphFacts]) -> str:
    shares = joined([f"{share:.0%}" for share, _ in graphs[0].in_degrees])
    return f"so many nodes at most chose a node, for {shares or 'a share'} of the nodes."


def eigenvalue_table(
    eigenvalues: Mapping[str, Sequence[float]], residuals: Mapping[str, Sequence[float]] | None = None
) -> Table:
    """Return all eigenvalues, one row a number and one column a pathway, with their residuals where they are known."""
    known = residuals or {}
    columns = [Column("Number")]
    series: list[tuple[Sequence[float], Callable[[float], str]]] = []
    for name, values in eigenvalues.items():
        columns.append(Column(name))
        series.append((values, lambda value: decimal(value, 6)))
        if known.get(name):
            columns.append(Column(f"{name}, residual"))
            series.append((known[name], lambda value: f"{value:.1e}"))
    rows = [
        [
            Cell(str(number + 1)),
            *(
                Cell(word(values[number]), exact=repr(float(values[number]))) if number < len(values) else Cell(DASH)
                for values, word in series
            ),
        ]
        for number in range(max(len(values) for values, _ in series))
    ]
    return Table("eigenvalues-table", "All eigenvalues", columns, rows)


def solver_table(solvers: Sequence[SolverFacts]) -> Table:
    """Return how good each pathway's solution is.

    Args:
        solvers: at least one.
    """
    columns = [
        Column("Pathway", number=False),
        Column("Solver", number=False),
        Column("Value of Eqn. 3"),
        Column("Largest value"),
        Column("Subspace found"),
        Column("Largest angle"),
        Column("Off the diagonal"),
    ]
    rows = [
        [
            Cell(facts.pathway),
            Cell(facts.solver),
            Cell(decimal(facts.value, 6), exact=repr(facts.value)),
            Cell(DASH) if facts.optimum is None else Cell(decimal(facts.optimum, 6), exact=repr(facts.optimum)),
            Cell(DASH) if facts.overlap is None else Cell(f"{100 * facts.overlap:.2f} %", exact=repr(facts.overlap)),
            Cell(DASH) if facts.largest_angle is None else Cell(f"{facts.largest_angle:.2f} degrees"),
            Cell(f"{facts.off_diagonal:.1e}"),
        ]
        for facts in solvers
    ]
    key = [
        ("Value of Eqn. 3", "the paper's objective at the orthonormalised solution, mean over the eigenvectors."),
        (
            "Largest value",
            "what the exact solution of Eqn. 3 reaches; a dash where it was not computed (--optimality).",
        ),
        ("Subspace found", "mean squared cosine of the principal angles to the exact solution; 100 % is all of it."),
        ("Largest angle", "the largest of those angles."),
        ("Off the diagonal", "the largest entry of X_ortho^T X_ortho off its diagonal, relative to the largest on it."),
    ]
    return Table("solver-table", "The solutions", columns, rows, key=key)


def stage_table(stages: Sequence[StageFacts]) -> Table:
    """Return time and memory of each stage, and their sum and peak."""
    columns = [Column("Stage", number=False), Column("Time"), Column("Peak memory"), Column("State", number=False)]
    rows = [
        [Cell(stage.name), _time(stage.seconds), _bytes(stage.peak_bytes), Cell(stage.state)] for stage in stages
    ]  # fmt: skip
    peaks = [stage.peak_bytes for stage in stages if stage.peak_bytes is not None]
    total = [Cell("all"), _time(sum(stage.seconds for stage in stages)), _bytes(max(peaks, default=None)), Cell("")]
    key = [
        ("Time", "wall-clock time; of a stage kept from an earlier run, what it took then."),
        ("Peak memory", "the most memory that the process held in the stage, in decimal units."),
    ]
    return Table("stages-table", "Stages", columns, rows, [total] if len(stages) > 1 else [], key)


def option_tables(options: Mapping[str, Mapping[str, object]]) -> list[Table]:
    """Return one table for each section of options."""
    columns = [Column("Option", number=False), Column("Value", number=False)]
    return [
        Table(
            f"options-table-{number}",
            section,
            columns,
            [[Cell(name, code=True), Cell(plain(value) or DASH, code=True)] for name, value in values.items()],
        )
        for number, (section, values) in enumerate(options.items(), start=1)
        if values
    ]


def version_table(versions: Mapping[str, str]) -> Table:
    """Return the versions of the programs used."""
    columns = [Column("Program", number=False), Column("Version", number=False)]
    rows = [[Cell(name), Cell(version, code=True)] for name, version in versions.items()]
    return Table("versions-table", "Versions", columns, rows)


def file_table(files: Sequence[FileEntry]) -> Table:
    """Return what the run directory holds."""
    columns = [Column("File or folder", number=False), Column("What it is", number=False), Column("Size")]
    rows = [[Cell(entry.path, code=True), Cell(entry.what), _bytes(entry.bytes)] for entry in files]
    return Table("files-table", "The run directory", columns, rows)


def skipped_table(skipped: Sequence[tuple[str, str]]) -> Table:
    """Return the images that were left out, and why."""
    columns = [Column("Image", number=False), Column("Reason", number=False)]
    rows = [[Cell(image, code=True), Cell(reason)] for image, reason in skipped]
    return Table("skipped-table", "Images left out", columns, rows)


def licence_table(licences: Sequence[PhotoLicence]) -> Table:
    """Return the licences of the photos that the page shows."""
    columns = [Column("Photo", number=False), Column("Licence", number=False), Column("Source", number=False)]
    rows = [[Cell(entry.image), Cell(entry.licence), Cell(entry.url or DASH, link=entry.url)] for entry in licences]
    return Table("licences-table", "Photos in the gallery", columns, rows)


def _time(seconds: float) -> Cell:
    return Cell(duration(seconds), exact=f"{seconds:.6g} seconds")


def _bytes(value: int | None) -> Cell:
    return Cell(size(value), exact="" if value is None else f"{value} bytes")
