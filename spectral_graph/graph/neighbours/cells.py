"""The cells of a search: a projection, and two levels of k-means centroids in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spectral_graph.errors import ConfigError
from spectral_graph.one_thread import one_thread
from spectral_graph.ops import cell_topc, gram

ENERGY = 0.96
"""Share of the rows' squared length that the projection keeps."""
LEAST_WIDTH, WIDTH_STEP = 32, 16
PCA_ROWS = 4096
ITERATIONS = 5
ROWS_PER_CELL = 16
"""Rows in the sample that trains the cells, for each cell."""
NEAR_GROUPS = 4
"""Groups whose cells are compared to place a row: a misplaced row costs recall, which is measured, not correctness."""


def cells_for(nodes: int) -> int:
    """Return the number of cells for `nodes` rows.

    A row is compared with the centroids of a few groups of about sqrt(cells) and with the rows of a few cells of about
    nodes / cells, which balances where cells grows as nodes^(2/3); the factor was measured.
    """
    return max(1, round(0.6 * nodes ** (2 / 3)))


@dataclass(frozen=True)
class Cells:
    """A projection and the centroids in it, group after group.

    Attributes:
        basis: (d, k) float32, orthonormal columns.
        groups: (groups, k) float32, the centroids of the groups.
        centroids: (cells, k) float32.
        group_ptr: (groups + 1,) int64; group g has the cells group_ptr[g] to group_ptr[g + 1].
    """

    basis: torch.Tensor
    groups: torch.Tensor
    centroids: torch.Tensor
    group_ptr: torch.Tensor

    def __len__(self) -> int:
        return len(self.centroids)

    def nearest(self, projected: torch.Tensor, count: int, groups: int) -> torch.Tensor:
        """Return the nearest cells of each row, the nearest first, among the cells of its nearest groups.

        Args:
            projected: (n, k) float32.
            count: cells wanted.
            groups: groups whose cells are compared.

        Returns:
            (n, count) int32, -1 where those groups have fewer cells.
        """
        rows, number = len(projected), len(self.groups)
        owner = torch.full((rows,), -1, dtype=torch.int32)
        nobody = torch.zeros(max(len(self), number), dtype=torch.int32)
        first = torch.zeros((rows, 1), dtype=torch.int32)
        everything = torch.tensor([0, number])
        chosen, _ = cell_topc(projected, owner, self.groups, nobody[:number], everything, first, min(groups, number))
        cells, _ = cell_topc(
            projected, owner, self.centroids, nobody[: len(self)], self.group_ptr, chosen, min(count, len(self))
        )
        return cells

    def place(self, projected: torch.Tensor) -> torch.Tensor:
        """Return the cell (n,) int32 of each row (n, k) float16; equal rows have the same cell."""
        return self.nearest(projected.float(), 1, NEAR_GROUPS)[:, 0].contiguous()

    def probes(self, projected: torch.Tensor, own: torch.Tensor, count: int, groups: int) -> torch.Tensor:
        """Return the cells that each row probes: its own, which holds rows equal to it, then the nearest others.

        Args:
            projected: (n, k) float16.
            own: (n,) int32, from `place`.
            count: cells wanted.
            groups: see `nearest`.

        Returns:
            (n, count) int32, all different, -1 where the groups have fewer cells.
        """
        near = self.nearest(projected.float(), count, groups)
        is_own = near == own[:, None]
        # The own cell moves to the front, or replaces the last one.
        at = torch.where(is_own.any(1), is_own.int().argmax(1), near.shape[1] - 1)
        shifted = torch.cat([own[:, None], near[:, :-1]], 1)
        return torch.where(torch.arange(near.shape[1]) <= at[:, None], shifted, near)


def principal_directions(unit: torch.Tensor) -> torch.Tensor:
    """Return the leading eigenvectors (d, k) float32 of the rows' second moments that keep ENERGY of their length."""
    depth = unit.shape[1]
    moments = gram(unit).numpy()
    with one_thread():
        weights, vectors = np.linalg.eigh(moments)
    weights, vectors = weights[::-1].clip(min=0), vectors[:, ::-1]
    enough = int(np.searchsorted(np.cumsum(weights), ENERGY * weights.sum())) + 1
    width = min(depth, max(LEAST_WIDTH, -(-enough // WIDTH_STEP) * WIDTH_STEP))
    return torch.from_numpy(np.ascontiguousarray(vectors[:, :width], np.float32))


def train_cells(basis: torch.Tensor, sample: torch.Tensor, number: int, seed: int) -> Cells:
    """Train the centroids with FAISS.

    Args:
        basis: (d, k) float32.
        sample: (n, k) float32, projected rows.
        number: cells wanted; fewer if the sample is smaller.
        seed: of k-means.

    Raises:
        ConfigError: FAISS is not installed.
    """
    import_faiss()  # before the limit, which holds for the libraries that are loaded
    with one_thread():
        return _train(basis, sample, number, seed)


def _train(basis: torch.Tensor, sample: torch.Tensor, number: int, seed: int) -> Cells:
    rows = sample.numpy()
    number = max(1, min(number, len(rows)))
    groups = kmeans(rows, max(1, round(number**0.5)), seed)
    tensor = torch.from_numpy(groups)
    alone = Cells(basis, tensor[:1], tensor, torch.tensor([0, len(tensor)]))
    owner = alone.nearest(sample, 1, 1)[:, 0].numpy()
    sizes = np.bincount(owner, minlength=len(groups))
    parts, kept = [], []
    for group, size in enumerate(sizes):
        if size:
            share = max(1, round(number * int(size) / len(rows)))
            parts.append(kmeans(np.ascontiguousarray(rows[owner == group]), min(share, int(size)), seed))
            kept.append(group)
    starts = np.r_[0, np.cumsum([len(part) for part in parts])]
    return Cells(basis, tensor[kept].contiguous(), torch.from_numpy(np.concatenate(parts)), torch.from_numpy(starts))


def kmeans(rows: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return the centroids (number, k) float32 of spherical k-means; all rows if there are no more than that."""
    if number >= len(rows):
        return rows.copy()
    clustering = import_faiss().Kmeans(
        rows.shape[1],
        number,
        niter=ITERATIONS,
        spherical=True,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    clustering.train(rows)
    return np.array(clustering.centroids, np.float32)


def import_faiss() -> Any:
    """Return the module faiss.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import faiss
    except ModuleNotFoundError:
        raise ConfigError(
            "the neighbour search needs FAISS, which is not installed: pip install faiss-cpu, "
            "or choose `neighbours=exact`"
        ) from None
    return faiss
