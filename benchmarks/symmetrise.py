"""How fast is csr_symmetrise, degrees included? Against SciPy's (A + A.T) / 2 and its row sums.

python -m benchmarks.symmetrise [--graph RUN/vv/graph.zarr --layer blocks.9 | --synthetic uniform hubs]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.graphs import SQUARE, add_arguments, chosen, parse_square
from benchmarks.table import Row, parser_of, show
from benchmarks.timing import compare, require_equal
from spectral_graph.ops import csr_symmetrise


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    add_arguments(parser, SQUARE)
    options = parse_square(parser, arguments)
    rows: list[Row] = []
    for graph in chosen(options):
        matrix = graph.scipy()

        def scipy_way(matrix=matrix):
            a = (matrix + matrix.T) / 2
            return a, np.asarray(a.sum(axis=1)).ravel()

        def ours(graph=graph):
            return csr_symmetrise(graph.indptr, graph.indices, graph.values, graph.rows)

        a, degree = scipy_way()
        a.sort_indices()
        made = ours()
        require_equal("csr_symmetrise", made, (a.indptr, a.indices, a.data, degree), 1e-5)
        written = 8 * a.nnz + 12 * graph.rows
        rows += compare(
            "csr_symmetrise",
            graph.shape,
            ours,
            {"scipy": scipy_way},
            work=(2.0 * graph.entries, graph.moved + written),
            seconds=options.seconds,
            memory=True,
        )
    show(rows, options)
    return rows


if __name__ == "__main__":
    main()
