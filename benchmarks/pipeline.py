"""How long from features in memory to eigenvectors, and how good are they? Ours, ncut_pytorch, SpectralEmbedding.

    python -m benchmarks.pipeline --run RUN [--graphs 10+10 best] [--peers ncut sklearn] [--rounds 3] [--seeds 0 1 2]

The features of a run are read first. Ours, layer by layer: mean, neighbours inside and outside the image, symmetrised
graph; then the merged operator and its eigenvectors, with all files in a scratch folder. The peers get the same layers
concatenated, float32, made ready untimed: ncut_pytorch with its defaults (and, as ncut-cosine, with its cosine
affinity), SpectralEmbedding with its nearest neighbours on more and more images until a call takes over --budget
seconds, beside ours on the same images. All eigenvectors go through the same K-means (rows of unit length, columns
weighted as in a diffusion map, and not weighted) and are scored against the labels; --seeds without a number leaves
that out. A method whose calls give other eigenvectors each time has the mean of their scores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.data_set_graph import GRAPHS, Features, features_of, options_of
from benchmarks.table import skipped
from spectral_graph.config import KINDS, RunConfig
from spectral_graph.data import open_dataset
from spectral_graph.data.preprocess import crop_label
from spectral_graph.embed import build_graph, leading_eigenvectors
from spectral_graph.evaluate.segmentation import cluster_maps, evaluate_labels
from spectral_graph.node_rows import ArrayRows, NormalisedRows, WeightedColumns
from spectral_graph.runs.image_table import ImageTable
from spectral_graph.segment.kmeans import assign, fit_kmeans
from spectral_graph.stages.methods import diffusion_weights

PEERS = ("ncut", "ncut-cosine", "sklearn")
Found = tuple[np.ndarray, np.ndarray]
"""Eigenvectors (N, C) and eigenvalues (C,)."""


@dataclass
class Method:
    """One way from features to eigenvectors.

    Attributes:
        name: in the table.
        solve: the timed work.
        seconds: of each call.
        found: the results of the calls, equal ones once.
    """

    name: str
    solve: Callable[[], Found]
    seconds: list[float] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def run(self) -> None:
        """Time one call."""
        begin = time.perf_counter()
        result = self.solve()
        self.seconds.append(time.perf_counter() - begin)
        if not any(np.array_equal(result[0], known[0]) for known in self.found):
            self.found.append(result)


class Steps:
    """Seconds of the steps of ours, summed over layers."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        """Count the time since the step before as that of `name`."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def ours(features: Features, config: RunConfig, steps: Steps) -> Found:
    """Return the eigenvectors of the merged operator."""
    with tempfile.TemporaryDirectory() as name:
        layers, work = list(features.layers), Path(name)
        graph = build_graph(layers, features.image_ptr, config, work, steps.done)
        found = leading_eigenvectors(graph, config, work)
    steps.done("eigenvectors")
    return found.vectors, found.eigenvalues


def concatenated(features: Features) -> torch.Tensor:
    """Return the queries of all layers side by side, (N, layers * d) float32."""
    return torch.cat([torch.from_numpy(layer[0]).float() for layer in features.layers], dim=1)


def by_ncut(joined: torch.Tensor, channels: int, cosine: bool) -> Found:
    """Return the eigenvectors of ncut_pytorch."""
    from ncut_pytorch import Ncut
    from ncut_pytorch.utils.math import cosine_affinity, rbf_affinity

    torch.manual_seed(0)
    model = Ncut(n_eig=channels, affinity_fn=cosine_affinity if cosine else rbf_affinity)
    vectors = model.fit_transform(joined)
    return vectors.numpy(), model.eigval.numpy()


def by_sklearn(joined: torch.Tensor, channels: int, threads: int) -> Found:
    """Return the eigenvectors of scikit-learn's SpectralEmbedding; it tells no eigenvalues."""
    from sklearn.manifold import SpectralEmbedding

    model = SpectralEmbedding(channels, affinity="nearest_neighbors", random_state=0, n_jobs=threads)
    return model.fit_transform(joined.numpy()), np.ones(channels)


class Judge:
    """Scores of eigenvectors by the labels of a run's images.

    Args:
        run: its directory.
        clusters: K; None for the number of classes.
        config: options of the stage segment.
    """

    def __init__(self, run: Path, clusters: int | None, config: RunConfig) -> None:
        self._table, self._config = ImageTable.load(run / "images.json"), config
        asked = json.loads((run / "run.json").read_text())["config"]
        root = Path(asked["root"]) if asked["root"] else None
        self._data = open_dataset(
            asked["dataset"], root, asked["split"], labels=asked["labels"], ignore=asked.get("ignore", "auto")
        )
        self._clusters = clusters or len(self._data.classes)

    def scores(self, found: Found, weighted: bool, seeds: Sequence[int]) -> dict[str, float]:
        """Return mean mIoU (Hungarian and greedy) and accuracy over K-means seeds.

        Args:
            found: of the first images of the run.
            weighted: weight the columns as the stage segment does.
            seeds: of K-means.
        """
        vectors, values = found
        rows = ArrayRows(vectors.reshape(-1, self._table.nodes_per_image, vectors.shape[1]))
        weights = diffusion_weights(values, self._config.diffusion) if weighted else np.ones(len(values))
        source = NormalisedRows(WeightedColumns(rows, weights))
        results = []
        for seed in seeds:
            model = fit_kmeans(source, self._clusters, seed, self._config.kmeans_init, self._config.kmeans_rows)
            maps = cluster_maps(assign(source, model), self._table.grid)
            results.append(evaluate_labels(maps, self._label, self._clusters, self._data.classes))
        return {
            "miou_hungarian": statistics.mean(one.hungarian.miou or 0.0 for one in results),
            "miou_greedy": statistics.mean(one.greedy.miou or 0.0 for one in results),
            "accuracy_hungarian": statistics.mean(one.hungarian.accuracy or 0.0 for one in results),
        }

    def _label(self, image: int) -> np.ndarray | None:
        kept = self._table.images[image]
        label = self._data.read_label(self._data.records[kept.slot])
        return None if label is None else crop_label(label, kept.box, kept.source_size)


def embed_more_and_more(features: Features, options: argparse.Namespace, config: RunConfig) -> list[Method]:
    """Time SpectralEmbedding on twice as many images each time while a call stays within the budget.

    Returns:
        SpectralEmbedding on the most images, and ours on the same ones.
    """
    images, last = 2, len(features.image_ptr) - 1
    while True:
        part = features.first_images(min(images, last))
        solve = partial(by_sklearn, concatenated(part), options.channels, options.threads)
        peer = Method(f"SpectralEmbedding, N = {part.nodes}", solve)
        peer.run()
        print(f"{peer.name}: {peer.seconds[0]:.2f} s", flush=True)
        if images >= last or peer.seconds[0] > options.budget:
            break
        images *= 2
    same = Method(f"ours {options.graphs[0]}, N = {part.nodes}", partial(ours, part, config, Steps()))
    same.run()
    return [peer, same]


def methods_of(
    features: Features, options: argparse.Namespace, configs: dict[str, RunConfig], steps: dict[str, Steps]
) -> list[Method]:
    """Return what is compared on all images."""

    def of_graph(graph: str) -> Found:
        steps[graph] = Steps()
        return ours(features, configs[graph], steps[graph])

    methods = [Method(f"ours {graph}", partial(of_graph, graph)) for graph in configs]
    wanted = [peer for peer in options.peers if peer.startswith("ncut")]
    if wanted and importlib.util.find_spec("ncut_pytorch") is None:
        skipped("ncut_pytorch", "the package ncut-pytorch is not installed")
        return methods
    if wanted:
        joined = concatenated(features)
        methods += [
            Method(peer, partial(by_ncut, joined, options.channels, peer.endswith("cosine"))) for peer in wanted
        ]
    return methods


def main(arguments: Sequence[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run whose stage extract is complete")
    parser.add_argument("--kind", choices=KINDS, default="vv")
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--graphs", nargs="+", choices=tuple(GRAPHS), default=["10+10", "best"])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["ncut", "sklearn"])
    parser.add_argument("--rounds", type=int, default=3, help="how often ours and the peers take turns")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds that SpectralEmbedding may take")
    parser.add_argument("--images", type=int, help="use the first IMAGES images only")
    parser.add_argument("--clusters", type=int, help="K; the number of classes by default")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of K-means")
    parser.add_argument("--block", type=int, help="nodes in one block of the graph; sets memory, not the graph")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    given = {"channels": options.channels} | ({"block": options.block} if options.block else {})
    configs = {graph: options_of(graph).model_copy(update=given) for graph in options.graphs}
    features = features_of(options.run, options.kind)
    if options.images:
        features = features.first_images(options.images)
    steps: dict[str, Steps] = {}
    methods = methods_of(features, options, configs, steps)
    for _ in range(options.rounds):
        for method in methods:
            method.run()
    if "sklearn" in options.peers:
        methods += embed_more_and_more(features, options, configs[options.graphs[0]])
    judge = Judge(options.run, options.clusters, configs[options.graphs[0]]) if options.seeds else None
    rows = [record(method, judge, options.seeds) for method in methods]
    for graph, found in steps.items():
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found.seconds.items())
        print(f"ours {graph}, seconds of its last call: {parts}")
    print(f"{features.nodes} nodes, {len(features.layers)} layers, {options.threads} threads")
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


def record(method: Method, judge: Judge | None, seeds: Sequence[int]) -> dict[str, object]:
    """Return the figures of one method."""
    row: dict[str, object] = {
        "method": method.name,
        "nodes": len(method.found[0][0]),
        "seconds": statistics.median(method.seconds),
        "all_seconds": method.seconds,
    }
    if judge is not None:
        for name, weighted in (("weighted", True), ("plain", False)):
            each = [judge.scores(found, weighted, seeds) for found in method.found]
            row[name] = {score: statistics.mean(one[score] for one in each) for score in each[0]}
            row[f"{name}_each"] = each
    return row


def show(rows: Sequence[dict[str, object]]) -> None:
    """Print a Markdown table; scores are mIoU Hungarian / greedy / accuracy."""
    print("| method | nodes | seconds | columns weighted | columns as they are |")
    print("|---|---|---|---|---|")
    for row in rows:
        scores = [row.get(name) for name in ("weighted", "plain")]
        words = [
            " / ".join(f"{value:.3f}" for value in one.values()) if isinstance(one, dict) else "" for one in scores
        ]
        print(f"| {row['method']} | {row['nodes']} | {row['seconds']:.2f} | {' | '.join(words)} |", flush=True)


if __name__ == "__main__":
    main()
