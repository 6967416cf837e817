"""Photo by photo: are our regions better than those of single layers, and how far is Adam from the exact solution?

    python -m benchmarks.per_image --data DATA [--only voc coco] [--adam 3] [--adam-size 224] [--json FILE]

DATA holds voc2012/ and coco/. The oracle gives each region the class that it overlaps most: with more regions every
method scores higher, so besides the K that each chooses by silhouette the table has columns of one K for all.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.preprocessing import normalize

from spectral_graph.data import open_dataset
from spectral_graph.data.preprocess import Preprocess
from spectral_graph.evaluate.oracle import Oracle
from spectral_graph.per_image.adam import HeadGraphs, adam
from spectral_graph.per_image.analysis import cluster_rows, find_regions
from spectral_graph.per_image.eigen import Solution, leading_eigenvectors, ritz
from spectral_graph.per_image.forward import PhotoSolver
from spectral_graph.per_image.operator import MergedAttention
from spectral_graph.per_image.options import make_image_config

SETS = {"voc": ("voc2012", None, 10), "coco": ("coco", "train2017", 40)}
FIXED = (3, 5, 10)
TINY = 1e-12


def ncut(affinity: np.ndarray, count: int) -> np.ndarray:
    """Unit rows (N, C) of the normalised cut of a dense graph: eigenvectors of (D - A) x = l D x."""
    scale = np.maximum(affinity.sum(axis=1), TINY) ** -0.5
    solution = leading_eigenvectors(affinity * scale[:, None] * scale, count)
    return normalize(solution.vectors * scale[:, None])


def methods(solver: PhotoSolver, extraction) -> dict[str, np.ndarray]:
    """Rows (N, C) that K-means gets, by method."""
    config = solver.config

    def operator(normalisation: str, layers) -> np.ndarray:
        merged = MergedAttention(extraction.grid, normalisation)
        merged.add(extraction, 0, layers)
        return merged.matrix()

    everything, walk = operator("symmetric", solver.layers), operator("random_walk", solver.layers)
    final = extraction.final[0].numpy().astype(np.float64)
    cosines = normalize(final) @ normalize(final).T
    return {
        "ours, all heads of all layers": cluster_rows(leading_eigenvectors(everything, config.channels), 1.0),
        "ours, Eqn. 3 as written": cluster_rows(leading_eigenvectors(walk, config.channels), 0.0),
        "K-means on final features": final,
        "Ncut on final features": ncut(np.maximum(cosines, 0), config.channels),
        "Ncut on final attention": ncut(operator("random_walk", solver.layers[-1:]), config.channels),
    }


def photos(solver: PhotoSolver, dataset):
    """Yield (pixels (1, H, W, 3), label) of each labelled photo, whole and in its own shape."""
    for record in dataset.records:
        image, label = dataset.read_image(record), dataset.read_label(record)
        if label is not None:
            size = solver.size(image.height, image.width)
            yield Preprocess("resize", size)(image, size).pixels[None], label


def oracle_table(solver: PhotoSolver, name: str, data: Path) -> list[dict]:
    folder, split, limit = SETS[name]
    dataset = open_dataset(name, data / folder, split, limit)
    scores: dict[str, dict[object, Oracle]] = {}
    chosen: dict[str, list[int]] = {}
    count = 0
    for pixels, label in photos(solver, dataset):
        count += 1
        extraction = solver.extract(pixels, ["photo"], 0)
        for method, rows in methods(solver, extraction).items():
            distances = cdist(rows, rows)
            oracles = scores.setdefault(method, {k: Oracle(dataset.classes) for k in ("silhouette", *FIXED)})
            for k, oracle in oracles.items():
                config = solver.config if k == "silhouette" else make_image_config({"clusters": str(k)})
                found = find_regions(rows, distances, np.zeros(1), config)
                oracle.add(found.labels.reshape(extraction.grid), label)
                if k == "silhouette":
                    chosen.setdefault(method, []).append(found.k)
    table = []
    for method, oracles in scores.items():
        free = oracles["silhouette"]
        row = {"set": name, "photos": count, "method": method, "K": float(np.mean(chosen[method]))}
        row |= {"miou_per_photo": free.per_photo, "miou_whole": free.whole}
        row |= {f"miou_k{k}": oracles[k].per_photo for k in FIXED}
        table.append(row)
        fixed = " | ".join(f"{row[f'miou_k{k}']:.3f}" for k in FIXED)
        print(
            f"| {name} | {count} | {method} | {row['K']:.1f} | {free.per_photo:.3f} | {free.whole:.3f} | {fixed} |",
            flush=True,
        )
    return table


def regions_of(solution: Solution, k: int, seed: int = 0) -> np.ndarray:
    rows = cluster_rows(solution, 0.0)
    config = make_image_config({"clusters": str(k), "seed": seed})
    return find_regions(rows, cdist(rows, rows), solution.values, config).labels


def adam_table(options: argparse.Namespace, normalisation: str) -> list[dict]:
    """Exact and Adam on the same photos, one after the other, with the same number of regions."""
    from sklearn.metrics import adjusted_rand_score

    given = {"size": options.adam_size, "normalisation": normalisation}
    solver = PhotoSolver(make_image_config(given))
    channels = solver.config.channels
    dataset = open_dataset("voc", options.data / "voc2012", None, options.adam)
    table = []
    for pixels, _ in photos(solver, dataset):
        extraction = solver.extract(pixels, ["photo"], 0)
        for _ in range(2):  # what a library sets up once does not count
            start = time.perf_counter()
            merged = MergedAttention(extraction.grid, normalisation)
            merged.add(extraction, 0, solver.layers)
            matrix = merged.matrix()
            exact = leading_eigenvectors(matrix, channels)
            middle = time.perf_counter()
        graphs = HeadGraphs.of(extraction, 0, solver.layers, normalisation)
        settings = {"steps": options.steps, "learning_rate": options.learning_rate, "seed": 0}
        found = ritz(matrix, adam(lambda _, held=graphs: held, len(matrix), channels, **settings))
        end = time.perf_counter()
        row = {"normalisation": normalisation, "nodes": len(matrix), "graphs": merged.graphs}
        row |= {"exact_s": middle - start, "adam_s": end - middle, "ratio": (end - middle) / (middle - start)}
        row |= {"exact_value": float(exact.values.mean()), "adam_value": float(found.values.mean())}
        row["subspace"] = float(np.square(exact.vectors.T @ found.vectors).sum() / channels)
        for k in FIXED:
            mine = regions_of(exact, k)
            row[f"ari_k{k}"] = float(adjusted_rand_score(mine, regions_of(found, k)))
            # How far K-means agrees with itself on the exact solution: no solver can be expected to agree better.
            row[f"ari_seeds_k{k}"] = float(adjusted_rand_score(mine, regions_of(exact, k, seed=1)))
        table.append(row)
        aris = " | ".join(f"{row[f'ari_k{k}']:.2f} ({row[f'ari_seeds_k{k}']:.2f})" for k in FIXED)
        print(
            f"| {normalisation} | {row['nodes']} | {row['exact_s']:.2f} | {row['adam_s']:.1f} | {row['ratio']:.0f} | "
            f"{row['exact_value']:.4f} | {row['adam_value']:.4f} | {row['subspace']:.3f} | {aris} |",
            flush=True,
        )
    return table


def main(arguments: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--size", type=int, default=448, help="of the photos of the oracle")
    parser.add_argument("--adam", type=int, default=3, help="photos of VOC on which Adam is compared; 0: none")
    parser.add_argument("--adam-size", type=int, default=224, help="of the photos on which Adam is compared")
    parser.add_argument("--steps", type=int, default=2000, help="of Adam")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    figures: list[dict] = []
    if options.only:
        solver = PhotoSolver(make_image_config({"size": options.size}))
        fixed = " | ".join(f"K = {k}" for k in FIXED)
        print(f"| set | photos | method | K chosen | mIoU per photo | mIoU whole set | {fixed} |")
        print("|---" * (6 + len(FIXED)) + "|")
        for name in options.only:
            figures += oracle_table(solver, name, options.data)
    if options.adam:
        fixed = " | ".join(f"ARI (two seeds of K-means), K = {k}" for k in FIXED)
        print(f"\n| operator | nodes | exact s | Adam s | ratio | exact value | Adam's value | subspace | {fixed} |")
        print("|---" * (8 + len(FIXED)) + "|")
        for normalisation in ("random_walk", "symmetric"):
            figures += adam_table(options, normalisation)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


if __name__ == "__main__":
    main()
