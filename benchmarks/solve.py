"""How fast are the exact eigenvectors? Ours against scipy eigsh, scipy lobpcg and torch.lobpcg, to the same residual.

    python -m benchmarks.solve (--run RUN [--kind vv] | --operator FILE.npz | --nodes N) [--channels 12 50] [--tol 1e-3]

The operator is the merged one of a run, a SciPy sparse matrix, or a synthetic graph of points and their neighbours.
Each solver gets the loosest tolerance (by powers of two) at which its largest true residual |S x - theta x| is at most
--tol; these calls warm up, then ours and the peers take turns. Eigenvalues and subspace are compared with eigsh in
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
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import eigsh, lobpcg

from benchmarks.graphs import of_scipy
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.operator import BlockOperator, merged_operator
from spectral_graph.solve.chebyshev import chebyshev

Solver = Callable[[float], tuple[np.ndarray, np.ndarray]]


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


def of_run(run: Path, kind: str, normalisation: str) -> sp.csr_matrix:
    """Return the merged operator of a run as one matrix: the mean over rounds of its blocks."""
    store = GraphStore.open(run / kind / "graph.zarr")
    nodes = int(store.attributes["nodes"])
    total = sp.csr_matrix((nodes, nodes), dtype=np.float32)
    names = store.names(f"merged/{normalisation}")
    if not names:
        raise SystemExit(f"{run} has no merged operator of {kind}, {normalisation}; run: spectral-graph solve {run}")
    for name in names:
        block = store.read(name)
        rows = np.repeat(block.rows, np.diff(block.indptr))
        total = total + sp.csr_matrix((block.values, (rows, block.column_ids[block.indices])), (nodes, nodes))
    return total / np.float32(store.attributes["rounds"])


def stored(matrix: sp.csr_matrix, folder: Path) -> BlockOperator:
    """Return the matrix as our operator: one block on disk, as the graph stage writes it."""
    graph = of_scipy("merged", matrix)
    store = GraphStore.create(folder, {"nodes": graph.rows, "rounds": 1})
    parts = (graph.indptr.numpy(), graph.indices.numpy(), graph.values.numpy())
    store.write("merged/symmetric/000000", Block(np.arange(graph.rows), *parts, None, {}))
    return merged_operator(store, "symmetric")


def solvers(matrix: sp.csr_matrix, operator: BlockOperator, channels: int, work: Path) -> dict[str, Solver]:
    """Return ours and the peers: each takes a tolerance and returns eigenvalues (descending) and vectors."""
    n = matrix.shape[0]
    random = np.random.default_rng(0)
    block = random.standard_normal((n, channels), np.float32)
    tensors = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        as_torch = torch.sparse_csr_tensor(*tensors, matrix.shape)

    def ours(tol: float) -> tuple[np.ndarray, np.ndarray]:
        found, rounds = chebyshev(operator, work, channels, 1, tol, 40, 60, 0, lambda _: None)
        return rounds[-1].ritz[:channels], found.view()[:, :channels]

    def by_eigsh(tol: float) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = eigsh(matrix, channels, which="LA", tol=tol, v0=block[:, 0])
        return values[::-1], vectors[:, ::-1]

    def by_lobpcg(tol: float) -> tuple[np.ndarray, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped short is seen from the true residual
            values, vectors = lobpcg(matrix, block, tol=tol, maxiter=300, largest=True)
        return values, vectors

    def by_torch(tol: float) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = torch.lobpcg(as_torch, channels, X=torch.from_numpy(block), tol=tol, niter=300, largest=True)
        return values.numpy(), vectors.numpy()

    return {"ours": ours, "scipy eigsh": by_eigsh, "scipy lobpcg": by_lobpcg, "torch.lobpcg": by_torch}


def true_residual(matrix: sp.csr_matrix, values: np.ndarray, vectors: np.ndarray) -> float:
    """Return the largest |S x - theta x| over unit x, in float64."""
    x = vectors.astype(np.float64)
    x /= np.linalg.norm(x, axis=0)
    return float(np.linalg.norm(matrix.astype(np.float64) @ x - x * values, axis=0).max())


def tolerance(name: str, solve: Solver, matrix: sp.csr_matrix, goal: float) -> float:
    """Return the loosest tolerance, from 4 times the goal down by halves, whose true residual reaches the goal."""
    if name == "ours":
        return goal
    for power in range(-2, 8):
        tol = goal * 2.0**-power
        if true_residual(matrix, *solve(tol)) <= goal:
            return tol
    raise SystemExit(f"{name} does not reach a residual of {goal:g}")


def main(arguments: Sequence[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run whose stage solve is complete")
    parser.add_argument("--kind", default="vv")
    parser.add_argument("--normalisation", choices=("symmetric", "random_walk"), default="symmetric")
    parser.add_argument("--operator", type=Path, help="a symmetric matrix written by scipy.sparse.save_npz")
    parser.add_argument("--nodes", type=int, default=20_000, help="of the synthetic graph")
    parser.add_argument("--channels", type=int, nargs="+", default=[12, 50])
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--peers", nargs="+", default=["scipy eigsh", "scipy lobpcg", "torch.lobpcg"])
    parser.add_argument("--pairs", type=int, default=3, help="how often ours and the peers take turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.operator:
        matrix = sp.load_npz(options.operator).tocsr().astype(np.float32)
    elif options.run:
        matrix = of_run(options.run, options.kind, options.normalisation).astype(np.float32)
    else:
        matrix = neighbours_in_a_square(options.nodes).astype(np.float32)
    rows: list[dict[str, object]] = []
    print(f"{matrix.shape[0]} nodes, {matrix.nnz} stored values, residual {options.tol:g}, {options.threads} threads")
    for channels in options.channels:
        with tempfile.TemporaryDirectory() as folder:
            operator = stored(matrix, Path(folder) / "graph.zarr")
            every = solvers(matrix, operator, channels, Path(folder) / "work")
            exact, basis = eigsh(matrix.astype(np.float64), channels, which="LA", tol=1e-9)
            chosen = {name: every[name] for name in ("ours", *options.peers)}
            tolerances = {name: tolerance(name, solve, matrix, options.tol) for name, solve in chosen.items()}
            taken: dict[str, list[float]] = {name: [] for name in chosen}
            for _ in range(options.pairs):
                for name, solve in chosen.items():
                    begin = time.perf_counter()
                    found = solve(tolerances[name])
                    taken[name].append(time.perf_counter() - begin)
                    values, vectors = found
                    if name == "ours":
                        wrong = float(np.abs(values - exact[::-1]).max())
                        unit = np.linalg.qr(vectors.astype(np.float64))[0]
                        angle = float(np.arcsin(min(1.0, np.linalg.norm(unit - basis @ (basis.T @ unit), 2))))
                        residual = true_residual(matrix, values, vectors)
            mine = statistics.median(taken["ours"])
            print(
                f"C = {channels}: eigenvalues within {wrong:.1e}, subspace angle {angle:.1e}, residual {residual:.1e}"
            )
            for name, seconds in taken.items():
                median = statistics.median(seconds)
                ratios = [a / b for a, b in zip(taken["ours"], seconds, strict=True)]
                row = {"channels": channels, "solver": name, "tol": tolerances[name], "seconds": median}
                row |= {"ours_over_it": statistics.median(ratios), "eigenvalue_error": wrong, "angle": angle}
                rows.append(row | {"all_seconds": seconds})
                print(f"  {name:14} {median:8.3f} s   ours / it {mine / median:.3f}   (tol {tolerances[name]:.1e})")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


if __name__ == "__main__":
    main()
