"""How fast are the exact eigenvectors? Ours against scipy eigsh, scipy lobpcg and torch.lobpcg, to the same residual.

    python -m benchmarks.solve --features RUN [--kind vv] [--graph 10+10]   # builds the operator from a run's features
    python -m benchmarks.solve --run RUN | --operator FILE.npz | --nodes N  # or takes one that there is, or a synthetic

Each solver gets the loosest tolerance (by powers of two) at which its largest true residual |S x - theta x| is at most
--tol; these calls warm up, then ours and the peers take turns. A peer that does not come so far is timed at the
tightest tolerance that was tried, and its residual is told. Eigenvalues and subspaces are compared with eigsh in
float64 at 1e-9.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import eigsh, lobpcg

from benchmarks.data_set_graph import GRAPHS, features_of, options_of
from benchmarks.graphs import of_scipy
from spectral_graph.config import KINDS
from spectral_graph.embed import build_graph
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.solve.chebyshev import ChebyshevSettings, chebyshev

Solver = Callable[[float], tuple[np.ndarray, np.ndarray]]
PEERS = ("scipy eigsh", "scipy lobpcg", "torch.lobpcg")
LOOSEST, TIGHTEST = 4, 1 / 8
"""Tolerances that are tried, as shares of the residual asked for."""
PAUSE = 0.3
"""Seconds before each timed call: threads of BLAS wait actively for a while after one, and would take its cores."""
ITERATIONS = 200
"""Of either lobpcg, at most."""


def neighbours_in_a_square(nodes: int, per_row: int = 20) -> sp.csr_matrix:
    """Return the normalised graph of random points and their nearest neighbours."""
    from scipy.spatial import KDTree

    points = np.random.default_rng(0).random((nodes, 3))
    distance, index = KDTree(points).query(points, per_row + 1)
    weights = np.exp(-distance[:, 1:].ravel() / distance[:, 1:].mean())
    rows = np.repeat(np.arange(nodes), per_row)
    a = sp.csr_matrix((weights, (rows, index[:, 1:].ravel())), (nodes, nodes))
    a = a + a.T
    root = sp.diags(1 / np.sqrt(np.asarray(a.sum(axis=1)).ravel()))
    return (root @ a @ root).tocsr()


def as_matrix(store: GraphStore, normalisation: str) -> sp.csr_matrix:
    """Return a merged operator as one matrix: the mean over rounds of its blocks."""
    nodes = int(store.attributes["nodes"])
    total = sp.csr_matrix((nodes, nodes), dtype=np.float32)
    for name in store.names(f"merged/{normalisation}"):
        block = store.read(name)
        rows = np.repeat(block.rows, np.diff(block.indptr))
        total = total + sp.csr_matrix((block.values, (rows, block.column_ids[block.indices])), (nodes, nodes))
    return (total / np.float32(store.attributes["rounds"])).astype(np.float32)


def stored(matrix: sp.csr_matrix, folder: Path) -> GraphStore:
    """Store a matrix as a merged operator in one block."""
    graph = of_scipy("merged", matrix)
    store = GraphStore.create(folder, {"nodes": graph.rows, "rounds": 1})
    parts = (graph.indptr.numpy(), graph.indices.numpy(), graph.values.numpy())
    store.write("merged/symmetric/000000", Block(np.arange(graph.rows), *parts, None, {}))
    return store


def store_of(options: argparse.Namespace, folder: Path) -> GraphStore:
    """Return the operator that the options name; it is built in `folder` where there is none yet."""
    if options.features:
        config = options_of(options.graph).model_copy(update={"normalisation": options.normalisation})
        features = features_of(options.features, options.kind)
        build_graph(list(features.layers), features.image_ptr, config, folder)
        return GraphStore.open(folder / "graph.zarr")
    if options.run:
        store = GraphStore.open(options.run / options.kind / "graph.zarr")
        if not store.names(f"merged/{options.normalisation}"):
            raise SystemExit(
                f"{options.run} has no merged operator of {options.kind}, {options.normalisation}; "
                f"run: spectral-graph solve {options.run}"
            )
        return store
    options.normalisation = "symmetric"
    given = sp.load_npz(options.operator) if options.operator else neighbours_in_a_square(options.nodes)
    return stored(given, folder / "graph.zarr")


def solvers(matrix: sp.csr_matrix, operator: BlockOperator, channels: int, work: Path) -> dict[str, Solver]:
    """Return ours and the peers: each takes a tolerance and returns eigenvalues (descending) and vectors."""
    n = matrix.shape[0]
    random = np.random.default_rng(0)
    block = random.standard_normal((n, channels), np.float32)
    indptr, indices, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        as_torch = torch.sparse_csr_tensor(indptr, indices, values, matrix.shape)

    def ours(tol: float) -> tuple[np.ndarray, np.ndarray]:
        found, rounds = chebyshev(operator, work, ChebyshevSettings(channels, tol, 40, 60, 0), 1, lambda _: None)
        return rounds[-1].ritz[:channels], found.view()[:, :channels]

    def by_eigsh(tol: float) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = eigsh(matrix, channels, which="LA", tol=tol, v0=block[:, 0])
        return values[::-1], vectors[:, ::-1]

    def by_lobpcg(tol: float) -> tuple[np.ndarray, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped short is seen from the true residual
            values, vectors = lobpcg(matrix, block, tol=tol, maxiter=ITERATIONS, largest=True)
        return values, vectors

    def by_torch(tol: float) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = torch.lobpcg(
            as_torch, channels, X=torch.from_numpy(block), tol=tol, niter=ITERATIONS, largest=True
        )
        return values.numpy(), vectors.numpy()

    return {"ours": ours, "scipy eigsh": by_eigsh, "scipy lobpcg": by_lobpcg, "torch.lobpcg": by_torch}


def true_residual(matrix: sp.csr_matrix, values: np.ndarray, vectors: np.ndarray) -> float:
    """Return the largest |S x - theta x| over unit x, in float64."""
    x = vectors.astype(np.float64)
    x /= np.linalg.norm(x, axis=0)
    return float(np.linalg.norm(matrix.astype(np.float64) @ x - x * values, axis=0).max())


def tolerance(solve: Solver, matrix: sp.csr_matrix, goal: float) -> tuple[float, bool]:
    """Return the loosest tolerance, `goal` times a power of two, whose true residual reaches the goal.

    At most four times the goal are tried, and an eighth of it; the flag tells whether it was reached.
    """

    def reached(tol: float) -> bool:
        return true_residual(matrix, *solve(tol)) <= goal

    tol = goal
    if reached(tol):
        while tol < LOOSEST * goal and reached(2 * tol):
            tol *= 2
        return tol, True
    while tol > TIGHTEST * goal:
        tol /= 2
        if reached(tol):
            return tol, True
    return tol, False


@dataclass
class Timed:
    """What is known of one solver: its tolerance, whether it reaches the goal, seconds of each call, last result."""

    tol: float
    reached: bool
    seconds: list[float]
    found: tuple[np.ndarray, np.ndarray]


def compare(chosen: dict[str, Solver], matrix: sp.csr_matrix, goal: float, pairs: int) -> dict[str, Timed]:
    """Choose the tolerance of each solver, then time them in turn."""
    timed = {}
    for name, solve in chosen.items():
        # Ours stops by the residual itself.
        tol, reached = (goal, True) if name == "ours" else tolerance(solve, matrix, goal)
        timed[name] = Timed(tol, reached, [], solve(tol) if name == "ours" else (np.empty(0), np.empty(0)))
    for _ in range(pairs):
        for name, solve in chosen.items():
            time.sleep(PAUSE)
            begin = time.perf_counter()
            timed[name].found = solve(timed[name].tol)
            timed[name].seconds.append(time.perf_counter() - begin)
    return timed


def records(
    timed: dict[str, Timed], matrix: sp.csr_matrix, exact: np.ndarray, basis: np.ndarray
) -> list[dict[str, object]]:
    """Return a record of each solver; `exact` eigenvalues (descending) and eigenvectors `basis` are the reference."""
    rows: list[dict[str, object]] = []
    for name, run in timed.items():
        values, vectors = run.found
        unit = np.linalg.qr(vectors.astype(np.float64))[0]
        apart = float(np.linalg.norm(unit - basis @ (basis.T @ unit), 2))
        ratios = [ours / its for ours, its in zip(timed["ours"].seconds, run.seconds, strict=True)]
        rows.append(
            {
                "channels": len(exact),
                "solver": name,
                "tol": run.tol,
                "reaches_goal": run.reached,
                "seconds": statistics.median(run.seconds),
                "ours_over_it": statistics.median(ratios),
                "residual": true_residual(matrix, values, vectors),
                "eigenvalue_error": float(np.abs(np.sort(values)[::-1] - exact).max()),
                "angle": float(np.arcsin(min(1.0, apart))),
                "all_seconds": run.seconds,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="a run whose stage extract is complete")
    parser.add_argument("--graph", choices=tuple(GRAPHS), default="10+10", help="with --features: which graph is built")
    parser.add_argument("--run", type=Path, help="a run whose stage solve is complete")
    parser.add_argument("--kind", choices=KINDS, default="vv")
    parser.add_argument("--normalisation", choices=("symmetric", "random_walk"), default="symmetric")
    parser.add_argument("--operator", type=Path, help="a symmetric matrix written by scipy.sparse.save_npz")
    parser.add_argument("--nodes", type=int, default=20_000, help="of the synthetic graph")
    parser.add_argument("--channels", type=int, nargs="+", default=[12, 50])
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--pairs", type=int, default=3, help="how often ours and the peers take turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = store_of(options, folder)
        matrix = as_matrix(store, options.normalisation)
        operator = merged_operator(store, options.normalisation)
        print(
            f"{matrix.shape[0]} nodes, {matrix.nnz} stored values, residual {options.tol:g}, {options.threads} threads"
        )
        for channels in options.channels:
            every = solvers(matrix, operator, channels, folder / "work")
            exact, basis = eigsh(matrix.astype(np.float64), channels, which="LA", tol=1e-9)
            timed = compare({n: every[n] for n in ("ours", *options.peers)}, matrix, options.tol, options.pairs)
            found = records(timed, matrix, exact[::-1], basis)
            show(found)
            rows += found
            if options.json:
                options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


def show(rows: Sequence[dict[str, object]]) -> None:
    """Print the records of one number of eigenvectors as a Markdown table."""
    print("| C | solver | tolerance | seconds | ours / it | residual | eigenvalues within | angle |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['channels']} | {row['solver']}{'' if row['reaches_goal'] else ' (does not reach it)'} "
            f"| {row['tol']:.1e} | {row['seconds']:.3f} | {row['ours_over_it']:.3f} "
            f"| {row['residual']:.1e} | {row['eigenvalue_error']:.1e} | {row['angle']:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
