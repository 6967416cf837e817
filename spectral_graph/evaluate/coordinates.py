"""Linear regression of a node's coordinates on its row: the "where" measure of the paper, section 4.2.3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from spectral_graph.errors import ConfigError
from spectral_graph.node_rows import ImageRows
from spectral_graph.one_thread import one_thread
from spectral_graph.segment.rows import read_chunks

UNIT_SIDE = 32
"""The unit of the error is one cell of a grid of this side, for every grid of the rows. The paper does not state its
unit; its 72.0 lies below the 85.25 that a constant prediction reaches on 32 x 32."""

_RIDGE = 1e-10
"""Relative to the mean of the correlation matrix' diagonal: above the rounding of a float64 sum of products, below any
direction of the rows that carries a signal."""

_CONSTANT = 1e-12
"""A column counts as constant if its variance is below this share of its mean square."""


class CoordinateRegression(BaseModel):
    """Mean squared errors of the predicted (row, column), averaged over the two, in squared cells of 32 x 32.

    Attributes:
        mse: fitted and scored on all images.
        mse_held_out: fitted on the images 0, 2, 4, ... and scored on 1, 3, 5, ...; None with one image.
        chance: error of the best constant prediction, the variance of the positions.
        images: number of images.
        rows: number of rows.
    """

    model_config = ConfigDict(frozen=True)

    mse: float
    mse_held_out: float | None
    chance: float
    images: int
    rows: int


def node_positions(grid: tuple[int, int]) -> np.ndarray:
    """Return the centres of the nodes of a grid (h, w) in cells of a 32 x 32 grid over the same window.

    They are float64 (h * w, 2), row and column, row-major; on a 32 x 32 grid the integers 0..31.
    """
    rows, columns = ((np.arange(side) + 0.5) * UNIT_SIDE / side - 0.5 for side in grid)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def coordinate_regression(
    source: ImageRows, grid: tuple[int, int], image_chunk: int | None = None
) -> CoordinateRegression:
    """Return the errors of predicting the position of every node from its row by a linear head with bias.

    One pass over the rows keeps (channels + 1)^2 sums, in float64; they are added image by image on one thread, so
    that the result depends on neither the chunk nor the number of cores.

    Args:
        source: the rows; their nodes are row-major on `grid`.
        grid: (h, w) with h * w == source.nodes_per_image.
        image_chunk: images in one read; None chooses by memory.

    Raises:
        ConfigError: the grid does not fit the rows.
        FeatureError: a row holds NaN or infinity.
    """
    if min(grid) < 1 or grid[0] * grid[1] != source.nodes_per_image:
        raise ConfigError(
            f"a grid of {grid[0]} x {grid[1]} does not hold the {source.nodes_per_image} nodes of an image; "
            "give the grid that the rows were made on"
        )
    nodes = source.nodes_per_image
    # Centred positions; a shift of the target moves the bias only.
    target = node_positions(grid)
    target -= target.mean(axis=0)
    halves = (_Moments.zeros(source.channels), _Moments.zeros(source.channels))
    offset: np.ndarray | None = None
    for start, stop, rows in read_chunks(source, image_chunk):
        with one_thread():
            for image in range(start, stop):
                x = rows[(image - start) * nodes : (image - start + 1) * nodes].astype(np.float64)
                if offset is None:
                    # Without it a common offset of the rows loses digits in the sums of squares; the bias takes it
                    # up. In float32, so that a constant column becomes exactly zero.
                    offset = x.mean(axis=0).astype(np.float32).astype(np.float64)
                halves[image % 2].add(x - offset, target)
    even, odd = halves
    both = even.plus(odd)
    with one_thread():
        return CoordinateRegression(
            mse=both.error(both.fit()),
            mse_held_out=odd.error(even.fit()) if source.n_images > 1 else None,
            chance=float(np.mean(target**2)),
            images=source.n_images,
            rows=source.n_images * nodes,
        )


@dataclass(eq=False)
class _Moments:
    """Sums over rows z = [x, 1] and targets y: z z^T (C + 1, C + 1), z y^T (C + 1, 2), |y|^2."""

    zz: np.ndarray
    zy: np.ndarray
    yy: float

    @classmethod
    def zeros(cls, channels: int) -> _Moments:
        return cls(np.zeros((channels + 1, channels + 1)), np.zeros((channels + 1, 2)), 0.0)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        z = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        self.zz += z.T @ z
        self.zy += z.T @ y
        self.yy += float(np.sum(y * y))

    def plus(self, other: _Moments) -> _Moments:
        return _Moments(self.zz + other.zz, self.zy + other.zy, self.yy + other.yy)

    def fit(self) -> np.ndarray:
        """Return the least-squares head (C + 1, 2), the bias last."""
        n = self.zz[-1, -1]
        mean_x, mean_y = self.zz[:-1, -1] / n, self.zy[-1] / n
        covariance = self.zz[:-1, :-1] / n - np.outer(mean_x, mean_x)
        cross = self.zy[:-1] / n - np.outer(mean_x, mean_y)
        # Unit variance first, or the ridge would switch off the columns of small scale; a column whose
        # variance is lost in the rounding of its square gets the weight 0.
        variance = np.diagonal(covariance)
        floor = _CONSTANT * np.diagonal(self.zz)[:-1] / n
        scale = np.where(variance > floor, 1.0 / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)), 0.0)
        correlation = covariance * np.outer(scale, scale)
        # The trace counts the columns that vary; with none of them the matrix must still be regular.
        ridge = _RIDGE * max(float(np.trace(correlation)), 1.0) / len(scale)
        head = np.linalg.solve(correlation + ridge * np.eye(len(scale)), cross * scale[:, None]) * scale[:, None]
        return np.concatenate([head, (mean_y - mean_x @ head)[None]])

    def error(self, head: np.ndarray) -> float:
        """Return the mean squared error of a head on these rows, averaged over the two coordinates."""
        squares = self.yy - 2.0 * np.sum(head * self.zy) + np.sum(head * (self.zz @ head))
        # A perfect fit can fall below zero by rounding.
        return max(0.0, float(squares)) / (2.0 * float(self.zz[-1, -1]))
