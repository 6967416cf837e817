"""g of Eqn. 3 on a mini-batch: X on the run's grid to the coarser grid of a layer, and gradients back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from spectral_graph.graph.layer_grids import layer_map, own_grid
from spectral_graph.grid_map import Grid, map_of_nodes
from spectral_graph.ops import csr_spmm

Csr = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class BatchMap:
    """g of all images of a mini-batch, and its transpose.

    Attributes:
        matrix: indptr int64, indices int32, values float32 of g (n, N): nodes of the layer by nodes of the run.
        transposed: the same of g^T.
    """

    matrix: Csr
    transposed: Csr

    @classmethod
    def of(cls, g: csr_array, images: int) -> BatchMap:
        """Repeat the map g (nodes of the layer, nodes of the run) of one image for every image."""
        whole = map_of_nodes(g, np.arange(images * g.shape[0]))
        return cls(_tensors(whole), _tensors(csr_array(whole.T)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return g x (n, C) float32 of x (N, C) float32."""
        return csr_spmm(*self.matrix, x, check=False)

    def backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return g^T y (N, C) float32 of a gradient y (n, C) float32."""
        return csr_spmm(*self.transposed, gradient, check=False)


class LayerMaps:
    """g of every layer of a graph, on mini-batches of any number of images; layers of one grid share it.

    Args:
        attributes: of the graph store.
        layers: their names.
    """

    def __init__(self, attributes: Mapping[str, Any], layers: Sequence[str]) -> None:
        self._grids = {layer: own_grid(attributes, layer) for layer in layers}
        self._maps = {self._grids[layer]: layer_map(attributes, layer) for layer in layers}
        self._batches: dict[tuple[Grid, int], BatchMap] = {}

    def image_map(self, layer: str) -> csr_array | None:
        """Return g (nodes of the layer, nodes of the run) of one image; None where both have the same nodes."""
        return self._maps[self._grids[layer]]

    def batch_map(self, layer: str, images: int) -> BatchMap | None:
        """Return g on a mini-batch; None where the layer has the nodes of the run."""
        grid, g = self._grids[layer], self.image_map(layer)
        if grid is None or g is None:
            return None
        # Mini-batches have one of two sizes.
        if (grid, images) not in self._batches:
            self._batches[grid, images] = BatchMap.of(g, images)
        return self._batches[grid, images]


def _tensors(matrix: csr_array) -> Csr:
    matrix.sort_indices()
    return (
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int32)),
        torch.from_numpy(matrix.data.astype(np.float32)),
    )
