"""What labels and options say about the regions and scores of a run, checked before any long work."""

from __future__ import annotations

import numpy as np
from PIL import Image

from spectral_graph.config import RunConfig
from spectral_graph.data.dataset import Dataset
from spectral_graph.data.images import decoding
from spectral_graph.data.preprocess import crop_label
from spectral_graph.errors import ConfigError, ImageError

CLUSTERS_WITHOUT_CLASSES = 10

MOST_COUNTS = 2**24
"""Entries of a confusion matrix: 128 MiB, and as many numbers in metrics.json for every method and seed."""


def cluster_count(config: RunConfig, dataset: Dataset) -> int:
    """Return K: the option, else the number of classes, else a fixed number for data with fewer than two."""
    classes = len(dataset.classes)
    return config.clusters or (classes if classes > 1 else CLUSTERS_WITHOUT_CLASSES)


def check_labels(config: RunConfig, dataset: Dataset) -> tuple[str, ...]:
    """Check that the labels can be scored as the options ask.

    Returns:
        What the user should know, one sentence each.

    Raises:
        ImageError: a label map cannot be used, and `bad_images` is "refuse".
        ConfigError: the confusion matrix of all clusters and classes would be too large.
    """
    if dataset.unreadable_labels and config.bad_images == "refuse":
        identity, reason = dataset.unreadable_labels[0]
        raise ImageError(f"label of image {identity}: {reason}; count it as missing with `bad_images=skip`")
    if config.bad_images == "refuse":
        _refuse_other_shapes(dataset)
    clusters, classes = cluster_count(config, dataset), len(dataset.classes)
    if clusters * classes > MOST_COUNTS:
        raise ConfigError(
            f"`clusters={clusters}`: with {classes} classes a confusion matrix has {clusters * classes} entries, more "
            f"than {MOST_COUNTS}; choose fewer"
        )
    if config.clusters is None and classes < 2:
        found = "no class" if classes == 0 else f"one class, {dataset.classes[0]}"
        return (f"there is {found}, so the number of regions is {clusters} (`clusters`)",)
    return ()


def _refuse_other_shapes(dataset: Dataset) -> None:
    """Raise ImageError for a label map that is no scaled version of its photo; only the heads of the files are read."""
    for record in dataset.records:
        if record.label is None:
            continue
        with decoding(record.label), Image.open(record.label) as label:
            shape = label.height, label.width
        with decoding(record.image), Image.open(record.image) as photo:
            width, height = photo.size
        try:
            crop_label(np.broadcast_to(np.int8(0), shape), (0, 0, width, height), (height, width))
        except ImageError as error:
            raise ImageError(
                f"label of image {record.id}: {error}; count it as missing with `bad_images=skip`"
            ) from error
