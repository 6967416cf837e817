"""How fast is csr_spmm? Against every backend that is there; and with bfloat16 against its own float32.

"limit" is a call that takes its turns with them and only loads what the product needs and stores a result (limits.py);
"at limit" is the ratio that one as fast as this would have.

python -m benchmarks.spmm [--graph RUN/vv/graph.zarr --layer blocks.9 | --synthetic uniform hubs] [--channels 16 50 128]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.backends import PEERS, available, native
from benchmarks.graphs import KINDS, add_arguments, chosen
from benchmarks.limits import product_limit
from benchmarks.table import Row, add_channels, parse, parser_of, show
from benchmarks.timing import compare, require_equal

BOUND_BF16 = 2.0**-7
"""Of the results with bfloat16 x, relative to the largest: twice the rounding of x."""


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    add_arguments(parser, KINDS)
    add_channels(parser)
    parser.add_argument("--backends", nargs="+", choices=("native", *PEERS), default=list(PEERS), help="ours and these")
    options = parse(parser, arguments)
    backends = available(options.backends)
    rows: list[Row] = []
    for graph in chosen(options):
        products = {name: make(graph) for name, make in backends.items()}
        ours = native(graph)
        exact = graph.scipy().astype("float64")
        for channels in options.channels:
            x = torch.randn(graph.columns, channels, generator=torch.Generator().manual_seed(channels))
            half = x.bfloat16()
            reference = exact @ x.double().numpy()
            require_equal("csr_spmm", ours(x), reference, 1e-5)
            require_equal("csr_spmm with bfloat16", ours(half), reference, BOUND_BF16)
            for name, product in products.items():
                require_equal(name, product(x), reference, 1e-4)
            operations = 2.0 * graph.entries * channels
            dense = 4 * channels * (graph.rows + graph.columns)
            shape = f"{graph.shape}, C = {channels}"
            common = {"seconds": options.seconds, "channels": channels, "graph": graph.name}
            rows += compare(
                "csr_spmm",
                shape,
                lambda ours=ours, x=x: ours(x),
                {name: lambda x=x, product=product: product(x) for name, product in products.items()},
                work=(operations, graph.moved + dense),
                limit=product_limit(graph, x),
                **common,
            )
            rows += compare(
                "csr_spmm bfloat16",
                shape,
                lambda ours=ours, half=half: ours(half),
                {"ours in float32": lambda ours=ours, x=x: ours(x)},
                work=(operations, graph.moved + dense - 2 * channels * graph.columns),
                **common,
            )
    show(rows, options)
    return rows


if __name__ == "__main__":
    main()
