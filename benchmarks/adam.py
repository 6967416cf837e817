"""How fast is adam_rows_? Against torch's AdamW on the same rows, one step count for all, no weight decay.

python -m benchmarks.adam [--rows 28520] [--channels 16 50 128]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmarks.table import Row, add_channels, parse, parser_of, show
from benchmarks.timing import compare, require_equal
from spectral_graph.ops import adam_rows_

RATE = 1e-3


def peer(x: torch.Tensor, gradient: torch.Tensor, **form: bool) -> tuple[torch.Tensor, Callable[[], None]]:
    """Return a copy of x and torch's step that moves it."""
    parameter = torch.nn.Parameter(x.clone())
    parameter.grad = gradient
    optimiser = torch.optim.AdamW([parameter], lr=RATE, weight_decay=0, **form)

    def step() -> None:
        optimiser.step()

    return parameter.data, step


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    add_channels(parser, rows=28_520)
    options = parse(parser, arguments)
    rows: list[Row] = []
    for channels in options.channels:
        generator = torch.Generator().manual_seed(channels)
        x, gradient = torch.randn(2, options.rows, channels, generator=generator)
        mine, m, v = x.clone(), torch.zeros_like(x), torch.zeros_like(x)
        step = torch.zeros(options.rows, dtype=torch.int64)

        def ours(mine=mine, m=m, v=v, gradient=gradient, step=step) -> None:
            step.add_(1)
            adam_rows_(mine, m, v, gradient, step, RATE)

        peers = {}
        ours()
        for name, form in (("torch AdamW foreach", {"foreach": True}), ("torch AdamW fused", {"fused": True})):
            moved, peers[name] = peer(x, gradient, **form)
            peers[name]()
            require_equal(f"adam_rows_ against {name}", mine - x, moved - x, 1e-3)
        rows += compare(
            "adam_rows_",
            f"{options.rows} x {channels}",
            ours,
            peers,
            work=(14.0 * x.numel(), 28 * x.numel()),
            seconds=options.seconds,
            channels=channels,
            graph=f"{options.rows} rows",
        )
    show(rows, options)
    return rows


if __name__ == "__main__":
    main()
