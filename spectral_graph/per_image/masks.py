"""Instance-like masks of a photo: regions merged step by step, each step's region scored, overlapping ones dropped.

The idea is that of the extras of the authors' script (https://github.com/xiao7199/layer_distributed_spectral_clustering,
single image mode): hierarchical merging, a binary silhouette, mask NMS with IoU 0.7, areas from 1 to 90 per cent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from spectral_graph.per_image.silhouette import binary_silhouettes


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks of a photo, the best first.

    Attributes:
        masks: (M, h, w) bool; they may overlap.
        scores: (M,) float64, binary silhouettes.
    """

    masks: np.ndarray
    scores: np.ndarray


def connected_parts(labels: np.ndarray) -> np.ndarray:
    """Return the 4-connected parts of the regions of a label map.

    Args:
        labels: (h, w) integers of at least 0.

    Returns:
        (h, w) int64, 0 .. parts - 1.
    """
    from scipy.ndimage import label

    parts = np.zeros(labels.shape, np.int64)
    count = 0
    for region in np.unique(labels):
        found, number = label(labels == region)
        inside = found > 0
        parts[inside] = found[inside] + count - 1
        count += number
    return parts


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
    flat = parts.ravel()
    count = int(flat.max()) + 1
    size: dict[int, float] = {part: float((flat == part).sum()) for part in range(count)}
    mean = {part: rows[flat == part].mean(axis=0) for part in range(count)}
    masks = {part: flat == part for part in range(count)}
    near: dict[int, set[int]] = {part: set() for part in range(count)}
    for first, second in ((parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])):
        for a, b in np.unique(np.stack([first.ravel(), second.ravel()], axis=1), axis=0).tolist():
            if a != b:
                near[a].add(b)
                near[b].add(a)

    def ward(a: int, b: int) -> float:
        return size[a] * size[b] / (size[a] + size[b]) * float(np.square(mean[a] - mean[b]).sum())

    queue = [(ward(a, b), a, b) for a in near for b in near[a] if a < b]
    heapq.heapify(queue)
    new = count
    while queue:
        _, a, b = heapq.heappop(queue)
        if a not in near or b not in near:
            continue
        masks[new] = masks[a] | masks[b]
        size[new] = size[a] + size[b]
        mean[new] = (size[a] * mean[a] + size[b] * mean[b]) / size[new]
        near[new] = (near.pop(a) | near.pop(b)) - {a, b}
        for other in near[new]:
            near[other] = (near[other] - {a, b}) | {new}
            heapq.heappush(queue, (ward(other, new), other, new))
        new += 1
    kept = [mask for mask in masks.values() if not mask.all()]
    return np.stack(kept) if kept else np.zeros((0, flat.size), bool)


def suppress(masks: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    """Return which masks remain when each drops those of lower score that overlap it by more than `iou`.

    Args:
        masks: (M, N) bool.
        scores: (M,); of equals the first counts as the better.
        iou: intersection over union.

    Returns:
        Indices of the masks that remain, best first.
    """
    values = masks.astype(np.float64)
    common = values @ values.T
    area = values.sum(axis=1)
    overlap = common / np.maximum(area[:, None] + area - common, 1)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        if not kept or float(overlap[index, kept].max()) <= iou:
            kept.append(index)
    return np.array(kept, np.int64)


def find_masks(
    finest: np.ndarray,
    rows: np.ndarray,
    distances: np.ndarray,
    *,
    iou: float,
    area: tuple[float, float],
    most: int,
) -> Masks:
    """Return the instance-like masks of a photo.

    Args:
        finest: (h, w) int64, the regions of the largest K.
        rows: (h * w, C), what was clustered.
        distances: (h * w, h * w) between the rows.
        iou: two masks that overlap by more are one.
        area: smallest and largest share of the photo, both allowed.
        most: how many masks at most.

    Returns:
        Masks with a binary silhouette above 0.
    """
    candidates = merge_tree(connected_parts(finest), rows)
    share = candidates.mean(axis=1)
    candidates = candidates[(share >= area[0]) & (share <= area[1])]
    if not len(candidates):
        return Masks(np.zeros((0, *finest.shape), bool), np.zeros(0))
    scores = binary_silhouettes(distances, candidates)
    candidates, scores = candidates[scores > 0], scores[scores > 0]
    kept = suppress(candidates, scores, iou)[:most]
    return Masks(candidates[kept].reshape(-1, *finest.shape), scores[kept])
