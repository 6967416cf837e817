"""The samples of a search: rows that train the cells, and queries whose exact neighbours tell the recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spectral_graph.graph.neighbours.job import Job, Side
from spectral_graph.graph.neighbours.table import unit_rows_of
from spectral_graph.ops import cell_topc

TRUTH_QUERIES = 256
LEAST_IMAGES = 256
"""Images that a sample is spread over, if there are as many: to read a few rows of a Zarr chunk costs all of it."""


def sample_nodes(job: Job, wanted: int, seed: int) -> np.ndarray:
    """Return at most `wanted` nodes, ascending, drawn from at least LEAST_IMAGES images."""
    generator = np.random.default_rng(seed)
    sizes = np.diff(job.image_ptr)
    order = generator.permutation(len(sizes))
    total = np.cumsum(sizes[order])
    images = max(LEAST_IMAGES, int(np.searchsorted(total, 2 * wanted)) + 1)
    chosen = np.sort(order[:images])
    pool = np.concatenate([np.arange(job.image_ptr[image], job.image_ptr[image + 1]) for image in chosen])
    return np.sort(generator.choice(pool, min(wanted, len(pool)), replace=False))


def unit_sample(job: Job, side: Side, nodes: np.ndarray) -> torch.Tensor:
    """Return the unit rows of those of the nodes that have length."""
    raw = torch.from_numpy(side.rows.read(nodes))
    unit, scales, _ = unit_rows_of(job, side, raw, nodes, torch.zeros(raw.shape[1], 0))
    return unit[scales > 0]


@dataclass
class Truth:
    """The exact neighbours of a sample of queries, gathered while the keys pass.

    Attributes:
        nodes: (n,) the queries.
        unit: (n, d) float32, their unit rows; rows without length are zero and find nothing.
        image: (n,) int32.
        columns: (n, count) int32, the best keys so far, -1 on free places.
        values: (n, count) float32.
    """

    nodes: np.ndarray
    unit: torch.Tensor
    image: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    threshold: float
    images: torch.Tensor

    @classmethod
    def start(cls, job: Job) -> Truth:
        """Draw the queries."""
        nodes = sample_nodes(job, TRUTH_QUERIES, job.seed + 1)
        raw = torch.from_numpy(job.query.rows.read(nodes))
        unit, _, _ = unit_rows_of(job, job.query, raw, nodes, torch.zeros(raw.shape[1], 0))
        images = torch.from_numpy(job.images)
        free = torch.full((len(nodes), job.count), -1, dtype=torch.int32)
        return cls(
            nodes,
            unit,
            images[torch.from_numpy(nodes)],
            free,
            torch.full(free.shape, -torch.inf),
            job.threshold,
            images,
        )

    def see(self, begin: int, unit: torch.Tensor) -> None:
        """Look at the unit rows (n, d) of the keys from node `begin` on."""
        queries, count = self.columns.shape
        columns, values = cell_topc(
            self.unit,
            self.image,
            unit,
            self.images[begin : begin + len(unit)],
            torch.tensor([0, len(unit)]),
            torch.zeros((queries, 1), dtype=torch.int32),
            count,
        )
        keep = (columns >= 0) & (values > 0) & (values >= torch.tensor(self.threshold, dtype=torch.float32))
        columns = torch.where(keep, columns + begin, -1)
        values = torch.where(keep, values, -torch.inf)
        # Earlier keys stand first and have lower numbers: a stable sort leaves ties to the lower column.
        both = torch.cat([self.values, values], 1)
        self.values, order = both.sort(dim=1, descending=True, stable=True)
        self.values = self.values[:, :count].contiguous()
        self.columns = torch.cat([self.columns, columns], 1).gather(1, order[:, :count])

    def recall(self, found: np.ndarray) -> float:
        """Return which part of the neighbours is in `found` (n, ...), the lists of all nodes; 1 if there are none."""
        truth = self.columns.numpy()
        hits = (truth[:, :, None] == np.asarray(found[self.nodes])[:, None, :]).any(2) & (truth >= 0)
        return float(hits.sum() / max(1, (truth >= 0).sum())) if (truth >= 0).any() else 1.0
