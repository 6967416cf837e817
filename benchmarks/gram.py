"""How fast are gram and rotate? Against torch in float64.

python -m benchmarks.gram [--rows 72013] [--channels 16 50 128]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.table import Row, add_channels, parse, parser_of, show
from benchmarks.timing import compare, require_equal
from spectral_graph.ops import gram, rotate


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    add_channels(parser, rows=72_013)
    options = parse(parser, arguments)
    rows: list[Row] = []
    for channels in options.channels:
        generator = torch.Generator().manual_seed(channels)
        x = torch.randn(options.rows, channels, generator=generator)
        u = torch.randn(channels, channels, dtype=torch.float64, generator=generator)

        def plain_gram(x=x) -> torch.Tensor:
            wide = x.double()
            return wide.T @ wide

        def plain_rotate(x=x, u=u) -> torch.Tensor:
            return (x.double() @ u).float()

        require_equal("gram", gram(x), plain_gram(), 1e-12)
        require_equal("rotate", rotate(x, u), plain_rotate(), 1e-6)
        shape = f"{options.rows} x {channels}"
        size = 4 * options.rows * channels
        common = {"seconds": options.seconds, "channels": channels, "graph": f"{options.rows} rows", "memory": True}
        rows += compare(
            "gram",
            shape,
            lambda x=x: gram(x),
            {"torch float64": plain_gram},
            work=(1.0 * options.rows * channels * channels, size),
            **common,
        )
        rows += compare(
            "rotate",
            shape,
            lambda x=x, u=u: rotate(x, u),
            {"torch float64": plain_rotate},
            work=(2.0 * options.rows * channels * channels, 2 * size),
            **common,
        )
    show(rows, options)
    return rows


if __name__ == "__main__":
    main()
