"""K-means over the rows of many images: fitted on a bounded sample, assigned in a stream."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spectral_graph.errors import ConfigError, FeatureError
from spectral_graph.node_rows import ImageRows
from spectral_graph.one_thread import one_thread
from spectral_graph.segment.rows import read_chunks


@dataclass(frozen=True, eq=False)
class KMeansModel:
    """Fitted clusters.

    Attributes:
        centroids: float32 (k, channels).
        inertia: sum of squared distances of the fitted rows to their centroids.
        rows_used: rows that the fit saw.
        seed: seed of the row sample and of the initialisation.
    """

    centroids: np.ndarray
    inertia: float
    rows_used: int
    seed: int

    @property
    def k(self) -> int:
        """Number of clusters."""
        return int(self.centroids.shape[0])


def fit_kmeans(
    source: ImageRows,
    k: int,
    seed: int,
    n_init: int,
    max_rows: int,
    max_iter: int = 300,
) -> KMeansModel:
    """Fit K-means (Lloyd, k-means++ starts) on at most `max_rows` rows of all images.

    Memory is set by `max_rows`, not by the number of images. The fit runs on one thread, so that its result
    does not depend on the number of cores.

    Args:
        source: the rows; all of them are read once.
        k: number of clusters.
        seed: 0 to 2**32 - 1.
        n_init: number of starts; the one with the lowest inertia is kept.
        max_rows: rows to fit on; every image gives the same number of them (up to one), drawn without
            replacement. All rows are used if there are no more than this.
        max_iter: Lloyd iterations of one start.

    Returns:
        The fitted model.

    Raises:
        ConfigError: an option is out of range, or there are fewer distinct rows than clusters.
        FeatureError: a row holds NaN or infinity.
    """
    for name, value in (("k", k), ("n_init", n_init), ("max_rows", max_rows), ("max_iter", max_iter)):
        if value < 1:
            raise ConfigError(f"K-means got {name}={value}; choose at least 1")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"K-means got seed={seed}; choose 0 to {2**32 - 1}")
    if max_rows < k:
        raise ConfigError(f"K-means got max_rows={max_rows} for k={k} clusters; allow at least {k} rows")
    rows = sample_rows(source, max_rows, seed)
    _require_distinct(rows, k)
    # K-means commutes with scaling, and scaling by a power of two is exact: this keeps the float32 squares
    # that scikit-learn forms within range whatever the unit of the features.
    exponent = int(np.frexp(np.abs(rows).max())[1])
    np.ldexp(rows, -exponent, out=rows)
    centroids, inertia = _lloyd(rows, k, seed, n_init, max_iter)
    return KMeansModel(
        centroids=np.ldexp(centroids, exponent),
        inertia=float(np.ldexp(inertia, 2 * exponent)),
        rows_used=len(rows),
        seed=seed,
    )


def sample_rows(source: ImageRows, max_rows: int, seed: int) -> np.ndarray:
    """Draw at most `max_rows` rows, evenly over the images.

    The draw of an image depends on the seed and the image's index only.

    Args:
        source: the rows.
        max_rows: most rows to return.
        seed: seed of the draw.

    Returns:
        float32 (min(max_rows, all rows), channels), in image and node order.

    Raises:
        FeatureError: a row that was read, drawn or not, holds NaN or infinity.
    """
    images, nodes = source.n_images, source.nodes_per_image
    reads = read_chunks(source)
    take_all = images * nodes <= max_rows
    sample = np.empty((min(max_rows, images * nodes), source.channels), dtype=np.float32)
    filled = 0
    for start, stop, rows in reads:
        for image in range(start, stop):
            of_image = rows[(image - start) * nodes : (image - start + 1) * nodes]
            if not take_all:
                # Spreads max_rows over the images so that their shares differ by one row at the most.
                share = (image + 1) * max_rows // images - image * max_rows // images
                drawn = np.random.default_rng([seed, image]).choice(nodes, share, replace=False, shuffle=False)
                of_image = of_image[np.sort(drawn)]
            sample[filled : filled + len(of_image)] = of_image
            filled += len(of_image)
    return sample


def assign(
    source: ImageRows, model: KMeansModel, image_chunk: int | None = None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Give every row its nearest centroid, a few images at a time.

    A label is the argmin over the clusters of the squared Euclidean distance, summed in float64 from the
    differences themselves, ties to the lower cluster. It depends on the row and the centroids alone: not on
    the chunk, the number of threads or the BLAS.

    Args:
        source: the rows, prepared as they were for the fit.
        model: the clusters.
        image_chunk: images in one step; None chooses by memory.

    Returns:
        Iterator of (start, stop, labels): images start..stop and their labels (stop - start,
        nodes_per_image), uint16, or int32 above 65,536 clusters.

    Raises:
        FeatureError: the rows have another number of channels than the centroids, or hold NaN or infinity.
    """
    if source.channels != model.centroids.shape[1]:
        raise FeatureError(
            f"the rows have {source.channels} channels, the clusters were fitted on {model.centroids.shape[1]}; "
            "prepare the rows as for the fit"
        )
    return _assign(read_chunks(source, image_chunk), source.nodes_per_image, model)


def _assign(
    reads: Iterator[tuple[int, int, np.ndarray]], nodes: int, model: KMeansModel
) -> Iterator[tuple[int, int, np.ndarray]]:
    centroids = model.centroids.astype(np.float64)
    dtype = np.uint16 if model.k <= 2**16 else np.int32
    for start, stop, rows in reads:
        labels = np.empty((stop - start, nodes), dtype=dtype)
        # One image at a time: the (nodes, k) distances are the largest temporary. Products this small lose more
        # by waiting for other threads than they gain; the limit ends before the caller continues.
        with one_thread():
            for image in range(stop - start):
                labels[image] = _nearest(rows[image * nodes : (image + 1) * nodes].astype(np.float64), centroids)
        yield start, stop, labels


def _nearest(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Nearest centroid of each row; float64 (P, C) and (k, C) to int64 (P,)."""
    squared_norms = np.sum(centroids * centroids, axis=1)
    # Half the squared distance less a constant of the row: fast, but its rounding depends on the BLAS.
    score = 0.5 * squared_norms - rows @ centroids.T
    # Rounding error of a sum of C products is at most C eps times the sum of magnitudes, and those are at
    # most |x|^2 + |c|^2 here; four such terms meet in one comparison (two scores, two exact distances).
    magnitude = np.sum(rows * rows, axis=1) + squared_norms.max()
    margin = 4.0 * (rows.shape[1] + 4) * np.finfo(np.float64).eps * magnitude
    close = score <= (score.min(axis=1) + margin)[:, None]
    labels = close.argmax(axis=1)
    undecided = np.flatnonzero(close.sum(axis=1) > 1)
    if undecided.size:
        labels[undecided] = _nearest_by_difference(rows[undecided], centroids)
    return labels


def _nearest_by_difference(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    best = np.full(len(rows), np.inf)
    labels = np.zeros(len(rows), dtype=np.int64)
    for cluster, centroid in enumerate(centroids):
        difference = rows - centroid
        distance = np.sum(difference * difference, axis=1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        labels[nearer] = cluster
    return labels


def _lloyd(rows: np.ndarray, k: int, seed: int, n_init: int, max_iter: int) -> tuple[np.ndarray, float]:
    """Centroids float32 (k, C) and inertia of scikit-learn's K-means on one thread."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    estimator = KMeans(
        n_clusters=k, init="k-means++", n_init=n_init, max_iter=max_iter, random_state=seed, copy_x=False
    )
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            estimator.fit(rows)
        except ConvergenceWarning as warning:
            raise ConfigError(
                f"K-means could not keep k={k} clusters apart on {len(rows)} rows, which differ too little; "
                "choose a smaller k, or look at the features"
            ) from warning
    return estimator.cluster_centers_.astype(np.float32), float(estimator.inertia_)


def _require_distinct(rows: np.ndarray, k: int) -> None:
    """Refuse rows with fewer than k distinct ones; looks at no more rows than it takes to find k."""
    look = min(len(rows), 8 * k)
    while True:
        # Adding zero turns -0.0 into 0.0: the two are one value.
        distinct = len(np.unique(rows[:look] + np.float32(0.0), axis=0))
        if distinct >= k:
            return
        if look == len(rows):
            raise ConfigError(
                f"k={k} clusters were asked for, but the {len(rows)} rows hold only {distinct} distinct ones; "
                f"choose k of at most {distinct}, or give more images"
            )
        look = min(len(rows), 4 * look)
