"""How far is Adam from the optimum of Eqn. 3 over its steps? The exact solution is computed for comparison.

    python -m benchmarks.convergence RUN/vv/graph.zarr [--channels 50] [--json FILE] [--plot FILE.png]

The graph must be of scope `batch`; `spectral-graph graph RUN --preset paper --kinds vv` makes one. Solved are Eqn. 4 as
the paper states it and, by itself, the objective of the authors' script with its moving average.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.merge import merge_layers
from spectral_graph.graph.operator import merged_operator
from spectral_graph.graph.random_walk import random_walk_form
from spectral_graph.solve.adam import AdamSettings, adam, open_state, solution
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev
from spectral_graph.solve.optimality import Exact, measure

TITLES = {"paper": "Adam on Eqn. 4", "released": "Adam, objective and average as released"}


def milestones(steps: int, inner_steps: int) -> list[int]:
    """Return about twenty numbers of steps up to `steps`, evenly spread on a logarithmic scale, whole visits each."""
    visits = np.geomspace(1, -(-steps // inner_steps), 20).round().astype(int)
    return sorted({min(int(visit) * inner_steps, steps) for visit in visits})


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="a graph.zarr")
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--inner-steps", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--ema", type=float, default=0.99, help="of the objective as released")
    parser.add_argument("--tol", type=float, default=1e-4, help="of the exact solution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="write a PNG here")
    options = parser.parse_args(arguments)
    store = GraphStore.open(options.graph)
    layers: list[str] = store.attributes["layers"]
    nodes, per_image = int(store.attributes["nodes"]), int(store.attributes["nodes_per_image"])
    ids = [name.rsplit("/", 1)[1] for name in store.names(f"blocks/{layers[0]}")]
    for i in ids:
        if not store.has(f"merged/random_walk/{i}"):
            blocks = [store.read(f"blocks/{layer}/{i}") for layer in layers]
            store.write(f"merged/random_walk/{i}", merge_layers(blocks, "random_walk"))
    operator = merged_operator(store, "random_walk")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        begin = time.perf_counter()
        best, rounds = chebyshev(
            operator,
            work / "exact",
            ChebyshevSettings(options.channels, options.tol, 10, 200, options.seed),
            per_image,
            lambda _: None,
        )
        seconds = time.perf_counter() - begin
        exact = Exact(best.x[:, : options.channels], rounds[-1].ritz[: options.channels])
        optimum = float(exact.eigenvalues.mean())
        facts = {"nodes": nodes, "images": nodes // per_image, "layers": len(layers), "channels": options.channels}
        found: dict = {"graph": facts, "optimum": optimum, "exact_rounds": len(rounds), "exact_seconds": seconds}
        found["exact_residual"] = float(rounds[-1].residuals[: options.channels].max())
        print(f"{nodes} nodes, {options.channels} channels: optimum {optimum:.6f}, exact in {seconds:.1f} s")
        for name in TITLES:
            settings = AdamSettings(
                options.channels,
                options.steps,
                options.inner_steps,
                options.learning_rate,
                options.seed,
                name,
                options.ema if name == "released" else 0.0,
            )
            found[name] = []
            spent = 0.0
            for steps in [0, *milestones(options.steps, options.inner_steps)]:
                now = replace(settings, steps=steps)
                state, _ = open_state(work / name, nodes, per_image, settings)
                begin = time.perf_counter()
                if steps:
                    adam(store, layers, ids, state, now, lambda *_: None)
                spent += time.perf_counter() - begin
                x = solution(state, now, 0, state.n_images)
                measured = measure(x, random_walk_form(store, layers, operator, x), exact=exact)
                entry = {"step": steps, "seconds": spent, "value": measured.value, "overlap": measured.overlap}
                entry |= {"largest_angle": measured.angles[-1]}
                entry |= {"loss": state.notes["history"][-1]["loss"]} if steps else {}
                found[name].append(entry)
                print(
                    f"{TITLES[name]}, step {steps}: value {measured.value:.6f}, {optimum - measured.value:.2e} below "
                    f"the optimum, {measured.overlap:.2%} of the exact subspace, {spent:.1f} s",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if options.plot:
        plot(found, options.plot)
    return found


def plot(found: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, title in TITLES.items():
        steps = [max(entry["step"], 1) for entry in found[name]]
        left.plot(steps, [found["optimum"] - entry["value"] for entry in found[name]], "o-", ms=3, label=title)
        right.plot(steps, [100 * entry["overlap"] for entry in found[name]], "o-", ms=3, label=title)
    left.set(xscale="log", yscale="log", xlabel="Adam steps (1: the start)", ylabel="optimum - value of Eqn. 3")
    right.set(xscale="log", ylim=(0, 100), xlabel="Adam steps (1: the start)", ylabel="exact subspace found (%)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
