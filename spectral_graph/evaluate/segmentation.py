"""Scores of cluster maps against label maps, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from spectral_graph.errors import ConfigError, DataError
from spectral_graph.evaluate.confusion import accumulate, empty_confusion, greedy, hungarian
from spectral_graph.evaluate.scores import Scores, score
from spectral_graph.segment.upsample import upsample_labels


class SegmentationResult(BaseModel):
    """Scores of one set of clusters over a data set.

    Attributes:
        confusion: pixels by cluster and class, n_clusters rows of n_classes counts.
        greedy: scores with each cluster matched to the class of most of its pixels.
        hungarian: scores with clusters and classes matched one to one.
        images_scored: images with at least one scored pixel.
        images_without_label: images for which there is no label map.
        images_ignored: images whose label map holds ignored pixels only (or no pixel).
        pixels_scored: pixels in `confusion`.
        pixels_ignored: the other pixels of the label maps.
    """

    model_config = ConfigDict(frozen=True)

    confusion: tuple[tuple[int, ...], ...]
    greedy: Scores
    hungarian: Scores
    images_scored: int
    images_without_label: int
    images_ignored: int
    pixels_scored: int
    pixels_ignored: int


def cluster_maps(
    assignments: Iterable[tuple[int, int, np.ndarray]], grid: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (image, cluster map (h, w)) from the chunks of `spectral_graph.segment.assign`.

    Args:
        assignments: (start, stop, labels (stop - start, h * w)).
        grid: (h, w).

    Raises:
        ConfigError: the grid does not fit the labels.
    """
    for start, stop, labels in assignments:
        if labels.shape != (stop - start, grid[0] * grid[1]):
            raise ConfigError(
                f"a grid of {grid[0]} x {grid[1]} does not fit labels of the shape {labels.shape} for the images "
                f"{start}..{stop}; give the grid that the rows were made on"
            )
        for image in range(start, stop):
            yield image, labels[image - start].reshape(grid)


def evaluate_labels(
    maps: Iterable[tuple[int, np.ndarray]],
    labels: Callable[[int], np.ndarray | None],
    n_clusters: int,
    classes: Sequence[str],
) -> SegmentationResult:
    """Score cluster maps, one image in memory at a time.

    A cluster map is resized by nearest neighbour to its label map, which must show the same window: the
    caller crops the label to the network's input and leaves it at its resolution.

    Args:
        maps: (image, cluster map (h, w) of 0..n_clusters - 1), in any order; from `cluster_maps`, or read
            from a file.
        labels: image to class map (H, W), or None if the image has none; values below 0 or at len(classes)
            and above are ignored.
        n_clusters: number of clusters.
        classes: names of the classes.

    Returns:
        Scores, confusion matrix and counts. Without any scored pixel the scores are None.

    Raises:
        ConfigError: no cluster or no class.
        DataError: a map or a label map has the wrong shape, type or values; the message names the image.
    """
    total = empty_confusion(n_clusters, len(classes))
    scored = without_label = ignored = pixels = 0
    for image, clusters in maps:
        label = labels(image)
        if label is None:
            without_label += 1
            continue
        if label.ndim != 2:
            raise DataError(f"image {image}: the label map has the shape {label.shape}; give (height, width)")
        try:
            upsampled = upsample_labels(clusters, label.shape) if label.size else np.empty(label.shape, clusters.dtype)
            counted = accumulate(total, upsampled, label)
        except (ConfigError, DataError) as error:
            raise DataError(f"image {image}: {error}") from error
        pixels += label.size
        scored += counted > 0
        ignored += counted == 0
    return SegmentationResult(
        confusion=tuple(map(tuple, total.tolist())),
        greedy=score(total, greedy(total), classes, "greedy"),
        hungarian=score(total, hungarian(total), classes, "hungarian"),
        images_scored=scored,
        images_without_label=without_label,
        images_ignored=ignored,
        pixels_scored=int(total.sum()),
        pixels_ignored=pixels - int(total.sum()),
    )
