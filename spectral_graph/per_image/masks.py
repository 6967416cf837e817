"""Instance-like masks of a photo: regions merged step by step, each step's region scored, overlapping ones dropped.

The idea is that of the extras of the authors' script (https://github.com/xiao7199/layer_distributed_spectral_clustering,
single image mode): hierarchical merging, a binary silhouette, mask NMS with IoU 0.7, areas from 1 to 90 per cent.
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy.ndimage import label

from spectral_graph.per_image.options import ImageConfig


def find_masks(
    finest: np.ndarray, rows: np.ndarray, distances: np.ndarray, config: ImageConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return the instance-like masks of a photo that have a binary silhouette above 0, the best first.

    Args:
        finest: (h, w) integers of at least 0, the regions of the largest K.
        rows: (h * w, C), the clustered rows.
        distances: (h * w, h * w) between the rows.
        config: `mask_area`, both ends of which are allowed, `mask_iou` and `max_masks`.

    Returns:
        Masks (M, h, w) bool, which may overlap, and their silhouettes (M,) float64.
    """
    smallest, largest = config.area
    candidates = merge_tree(connected_components(finest), rows)
    share = candidates.mean(axis=1)
    candidates = candidates[(share >= smallest) & (share <= largest)]
    scores = binary_silhouettes(distances, candidates)
    candidates, scores = candidates[scores > 0], scores[scores > 0]
    kept = mask_nms(candidates, scores, config.mask_iou)[: config.max_masks]
    return candidates[kept].reshape(-1, *finest.shape), scores[kept]


def connected_components(labels: np.ndarray) -> np.ndarray:
    """Return the 4-connected components of the regions of a label map, (h, w) int64 from 0."""
    components = np.zeros(labels.shape, np.int64)
    count = 0
    for region in np.unique(labels):
        found, number = label(labels == region)
        components += np.where(found > 0, found + count - 1, 0)
        count += number
    return components


def merge_tree(parts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Merge neighbouring parts, always the two that lie nearest, until one is left.

    The distance of two parts is Ward's: |a| |b| / (|a| + |b|) times the squared distance of their mean rows. Only parts
    that share a border merge, so every mask is connected.

    Args:
        parts: (h, w) int64, 0 .. R - 1, connected.
        rows: (h * w, C).

    Returns:
        (M, h * w) bool: every part and every merged part but the last, which is the whole photo; M = 2 R - 2.
    """
    masks = [parts.ravel() == part for part in range(int(parts.max()) + 1)]
    size = [float(mask.sum()) for mask in masks]
    mean = [rows[mask].mean(axis=0) for mask in masks]
    near: dict[int, set[int]] = {part: set() for part in range(len(masks))}
    for first, second in ((parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])):
        for a, b in set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)):
            if a != b:
                near[a].add(b)
                near[b].add(a)

    def ward(a: int, b: int) -> float:
        return size[a] * size[b] / (size[a] + size[b]) * float(np.square(mean[a] - mean[b]).sum())

    queue = [(ward(a, b), a, b) for a in near for b in near[a] if a < b]
    heapq.heapify(queue)
    while queue:
        _, a, b = heapq.heappop(queue)
        if a not in near or b not in near:
            continue
        new = len(masks)
        masks.append(masks[a] | masks[b])
        size.append(size[a] + size[b])
        mean.append((size[a] * mean[a] + size[b] * mean[b]) / size[new])
        near[new] = (near.pop(a) | near.pop(b)) - {a, b}
        for other in near[new]:
            near[other] = (near[other] - {a, b}) | {new}
            heapq.heappush(queue, (ward(other, new), other, new))
    return np.array(masks[:-1], bool).reshape(-1, parts.size)


def binary_silhouettes(distances: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return, for each mask, the mean silhouette of all points in the clusters "inside" and "outside" of it.

    The values are those of `sklearn.metrics.silhouette_score` for each mask, from one matrix product for all masks.

    Args:
        distances: (N, N) float64, symmetric.
        masks: (M, N) bool; each holds at least one point and leaves at least one out.

    Returns:
        (M,) float64 in [-1, 1].
    """
    count = masks.sum(axis=1, keepdims=True).astype(np.float64)
    to_mask = (distances @ masks.T.astype(np.float64)).T
    to_rest = distances.sum(axis=1) - to_mask
    rest = masks.shape[1] - count
    own = np.where(masks, count, rest)
    within = np.where(masks, to_mask, to_rest) / np.maximum(own - 1, 1)
    across = np.where(masks, to_rest / rest, to_mask / count)
    larger = np.maximum(within, across)
    # A point alone in its cluster has the silhouette 0.
    values = np.divide(across - within, larger, out=np.zeros_like(larger), where=(larger > 0) & (own > 1))
    return values.mean(axis=1)


def mask_nms(masks: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    """Non-maximum suppression: each kept mask drops those of lower score that overlap it by more than `iou`.

    The IoU is that of the masks. `torchvision.ops.nms` takes that of their boxes, which may be one where masks are not.

    Args:
        masks: (M, N) bool, none of them empty.
        scores: (M,); of equal scores the first counts as the better.
        iou: intersection over union.

    Returns:
        int64 indices of the kept masks, best first.
    """
    values = masks.astype(np.float64)
    common = values @ values.T
    area = values.sum(axis=1)
    overlap = common / (area[:, None] + area - common)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if (overlap[index, kept] <= iou).all():
            kept.append(index)
    return np.array(kept, np.int64)
