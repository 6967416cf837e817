"""How fast is topc_affinity, exact, and in what memory? Against torch mm + topk, FAISS, and the matrix product alone.

    python -m benchmarks.affinity [--features RUN/features.zarr --layer blocks.9] [--images 40]
    python -m benchmarks.affinity [--nodes 713 1024] [--dim 384]        # random vectors

With --features: the values, queries and keys of a layer, centred, in images spread over the run. Ours does not multiply
what cannot be among the best there; random vectors give it nothing to leave out. FAISS searches unfiltered: it finds
fewer than ours, which keeps two lists and leaves out the node itself. "SGEMM alone" makes all products, also for V-V.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.table import Row, parse, parser_of, show, skipped
from benchmarks.timing import compare
from spectral_graph.features.store import FeatureStore
from spectral_graph.ops import topc_affinity

ROWS = 1024
"""Query rows of a block of the peers."""


def blocks(query: torch.Tensor, key: torch.Tensor, use: Callable[[int, torch.Tensor], object]) -> None:
    """Multiply block by block into one buffer and hand each product to `use`."""
    buffer = torch.empty(ROWS, len(key))
    for start in range(0, len(query), ROWS):
        part = query[start : start + ROWS]
        use(start, torch.mm(part, key.T, out=buffer[: len(part)]))


def plain_search(query: torch.Tensor, key: torch.Tensor, nodes: int, intra: int, inter: int) -> list[torch.Tensor]:
    """Return the best values (N, intra) inside and (N, inter) outside the image by torch."""
    inside, outside = torch.empty(len(query), intra), torch.empty(len(query), inter)

    def use(start: int, product: torch.Tensor) -> None:
        row = torch.arange(start, start + len(product))
        product[torch.arange(len(product)), row] = -torch.inf
        for image in range(start // nodes, (start + len(product) - 1) // nodes + 1):
            first, past = max(start, image * nodes), min(start + len(product), (image + 1) * nodes)
            own = product[first - start : past - start, image * nodes : (image + 1) * nodes]
            inside[first:past] = own.topk(intra, dim=1).values
            own.fill_(-torch.inf)
        outside[start : start + len(product)] = product.topk(inter, dim=1).values

    blocks(query, key, use)
    return [inside, outside]


def require_best(name: str, found: Sequence[torch.Tensor], best: Sequence[torch.Tensor], nodes: int) -> None:
    """End the program unless the kept values are the positive ones of the best."""
    indptr, indices, values = found
    row = torch.repeat_interleave(torch.arange(len(indptr) - 1), indptr.diff())
    own = row // nodes == indices // nodes
    for which, expected in zip((own, ~own), best, strict=True):
        kept = torch.full((len(indptr) - 1,), 0.0, dtype=torch.float64).index_add_(
            0, row[which], values[which].double()
        )
        off = float((kept - expected.clamp_min(0).double().sum(dim=1)).abs().max())
        if not off < 1e-4:
            raise SystemExit(f"{name}: the result is wrong: the kept values of a row sum to {off:.3g} more or less")


Case = tuple[str, torch.Tensor, torch.Tensor]


def random_cases(count: int, dim: int) -> list[Case]:
    """Return unit rows that lie anywhere, as name, query and key."""
    generator = torch.Generator().manual_seed(0)
    value, query, key = torch.nn.functional.normalize(torch.randn(3, count, dim, generator=generator), dim=2)
    return [("V-V", value, value), ("Q-K", query, key)]


def feature_cases(store: FeatureStore, layer: str, images: int) -> list[Case]:
    """Return the centred unit rows of a layer in that many images spread over the run, as name, query and key."""
    slots = np.linspace(0, store.slots - 1, min(images, store.slots)).round().astype(int).tolist()

    def unit(kind: str) -> torch.Tensor:
        rows = store.rows(layer, kind, slots)
        centred = torch.from_numpy(rows.read(slice(0, rows.shape[0]))).float()
        centred -= centred.mean(dim=0)
        return torch.nn.functional.normalize(centred, dim=1)

    value, query, key = unit("v"), unit("q"), unit("k")
    return [("V-V", value, value), ("Q-K", query, key)]


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--images", type=int, default=10, help="40 for the figures of the issue; time grows as its square"
    )
    parser.add_argument("--features", type=Path, help="features.zarr of a run")
    parser.add_argument("--layer", default="blocks.9", help="of --features")
    parser.add_argument("--nodes", type=int, nargs="+", default=[713, 1024], help="of an image of random vectors")
    parser.add_argument("--dim", type=int, default=384, help="of random vectors")
    parser.add_argument("--intra", type=int, default=5)
    parser.add_argument("--inter", type=int, default=15)
    options = parse(parser, arguments)
    rows: list[Row] = []
    if options.features is not None:
        store = FeatureStore.open(options.features)
        cases = feature_cases(store, options.layer, options.images)
        rows += compare_at(options.layer, store.nodes, cases, options)
    else:
        for nodes in options.nodes:
            rows += compare_at("random", nodes, random_cases(options.images * nodes, options.dim), options)
    show(rows, options)
    return rows


def compare_at(source: str, nodes: int, cases: list[Case], options: argparse.Namespace) -> list[Row]:
    """Compare on images of that many nodes: values with themselves, and queries with keys."""
    lists = (options.intra, options.inter)
    rows: list[Row] = []
    for name, a, b in cases:
        symmetric = a is b
        count, dim = a.shape
        images = torch.arange(0, count + 1, nodes)

        def ours(a=a, b=b, images=images, symmetric=symmetric):
            return topc_affinity(a, b, images, *lists, symmetric=symmetric)

        def plain(a=a, b=b):
            return plain_search(a, b, nodes, *lists)

        require_best("topc_affinity", ours(), plain(), nodes)
        peers: dict[str, Callable[[], object]] = {
            "torch mm + topk": plain,
            "SGEMM alone": lambda a=a, b=b: blocks(a, b, lambda *_: None),
        }
        if importlib.util.find_spec("faiss") is None:
            skipped("FAISS IndexFlatIP", "the package faiss is not installed")
        else:
            import faiss

            faiss.omp_set_num_threads(options.threads)
            index = faiss.IndexFlatIP(dim)
            index.add(b.numpy())
            peers["FAISS IndexFlatIP"] = lambda a=a, index=index: index.search(a.numpy(), sum(lists))
        rows += compare(
            f"topc_affinity {name}",
            f"{source}: {count // nodes} images x {nodes} nodes, d = {dim}, c = {lists[0]} + {lists[1]}",
            ours,
            peers,
            work=((1.0 if symmetric else 2.0) * count * count * dim, 4.0 * 2 * count * dim),
            seconds=options.seconds,
            memory=True,
        )
    return rows


if __name__ == "__main__":
    main()
