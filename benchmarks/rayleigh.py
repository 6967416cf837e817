"""How fast is rayleigh? Against the product with [u, D^-1 u] by every SpMM, and the rest by elementwise torch.

"limit" is a call that takes its turns with them and only loads what the product needs, and an inverse degree for each
entry, and stores a result (limits.py); "at limit" is the ratio that one as fast as this would have.

python -m benchmarks.rayleigh [--graph RUN/vv/graph.zarr --layer blocks.9 | --synthetic uniform hubs] [--channels 16 50]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.backends import PEERS, available
from benchmarks.graphs import SQUARE, add_arguments, chosen, parse_square
from benchmarks.limits import product_limit
from benchmarks.table import Row, add_channels, parser_of, show
from benchmarks.timing import compare, require_equal
from spectral_graph.ops import rayleigh
from spectral_graph.ops.backends import Product


def composed(product: Product, inverse: torch.Tensor, u: torch.Tensor) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Return the same computation with a peer's product; its s is summed in float32, the cheaper way."""
    channels, column = u.shape[1], inverse[:, None]

    def run() -> tuple[torch.Tensor, ...]:
        both = product(torch.cat([u, column * u], dim=1))
        walked = column * both[:, :channels]
        return (u * walked).sum(dim=0), walked + both[:, channels:]

    return run


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    add_arguments(parser, SQUARE)
    add_channels(parser)
    parser.add_argument("--backends", nargs="+", choices=("native", *PEERS), default=list(PEERS), help="ours and these")
    options = parse_square(parser, arguments)
    backends = available(options.backends)
    rows: list[Row] = []
    for graph in chosen(options):
        graph = graph if options.graph else graph.symmetrised()
        exact = graph.scipy().astype(np.float64)
        degree = np.asarray(exact.sum(axis=1)).ravel()
        d = np.divide(1, degree, out=np.zeros(graph.rows), where=degree > 0).astype(np.float32)
        inverse = torch.from_numpy(d)
        products = {name: make(graph) for name, make in backends.items()}
        for channels in options.channels:
            u = torch.randn(graph.rows, channels, generator=torch.Generator().manual_seed(channels))
            wide, column = u.double().numpy(), d.astype(np.float64)[:, None]
            walked = column * (exact @ wide)
            reference = (np.einsum("nc,nc->c", wide, walked), walked + exact @ (column * wide))
            parts = (graph.indptr, graph.indices, graph.values, inverse, u)
            require_equal("rayleigh", rayleigh(*parts), reference, 1e-5)
            peers = {name: composed(product, inverse, u) for name, product in products.items()}
            for name, peer in peers.items():
                require_equal(name, peer(), reference, 1e-3)
            rows += compare(
                "rayleigh",
                f"{graph.shape}, C = {channels}",
                lambda parts=parts: rayleigh(*parts),
                peers,
                work=(2.0 * graph.entries * channels, graph.moved + 4 * graph.rows + 8 * channels * graph.rows),
                seconds=options.seconds,
                limit=product_limit(graph, u, inverse),
                channels=channels,
                graph=graph.name,
            )
    show(rows, options)
    return rows


if __name__ == "__main__":
    main()
