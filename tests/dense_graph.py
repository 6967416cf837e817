"""Vectors, and the graph of `spectral_embedding` made densely in float64."""

import numpy as np

EXACT = {"neighbours": "exact", "hubs": "none", "sharpen": 1.0, "tol": 1e-5}


def scene(images, nodes, depth=12, seed=0):
    """Vectors around a few directions, as patches of a few kinds of things."""
    generator = np.random.default_rng(seed)
    kinds = generator.standard_normal((5, depth))
    kind = generator.integers(0, 5, images * nodes)
    return (kinds[kind] + 0.6 * generator.standard_normal((images * nodes, depth))).astype(np.float32)


def unit(rows, centre):
    rows = rows.astype(np.float64)
    rows = rows - rows.mean(axis=0) * centre
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def best(cosine, allowed, count, threshold):
    chosen = np.zeros_like(cosine)
    ranked = np.where(allowed & (cosine > 0) & (cosine >= threshold), cosine, -np.inf)
    for row in range(len(cosine)):
        for column in np.argsort(-ranked[row], kind="stable")[:count]:
            if ranked[row, column] > -np.inf:
                chosen[row, column] = cosine[row, column]
    return chosen


def dense_operator(layers, image, c_intra, c_inter, threshold, centre=True, sharpen=1.0):
    total = 0.0
    for query, key in layers:
        cosine = unit(query, centre) @ unit(key, centre).T
        same = image[:, None] == image[None]
        others = ~np.eye(len(image), dtype=bool)
        b = best(cosine, same & others, c_intra, threshold) + best(cosine, ~same, c_inter, threshold)
        a = (b**sharpen + (b**sharpen).T) / 2
        degree = a.sum(axis=1)
        scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
        total = total + a * np.outer(scale, scale)
    return total / len(layers)
