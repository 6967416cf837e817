"""All heads of all layers of one photo as one dense symmetric operator (Eqns. 3 and 5 of the paper).

The graph of a head is A = exp(q k^T / sqrt(d)) between all pairs of nodes, so D^-1 A is the head's attention, a softmax
over each row. As u^T D^-1 A u = u^T S u with S the symmetric part of D^-1 A, the mean over heads of Eqn. 3 is the
quadratic form of one N x N matrix: the mean of g^T S g. Memory: that matrix, one matrix for each further grid, and
one of a head where a head must be normalised; never one for each head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from spectral_graph.errors import FeatureError, GraphError
from spectral_graph.features.model import Extraction, LayerInfo
from spectral_graph.graph.merge import Normalisation, require_normalisation
from spectral_graph.grid_map import Grid, scaled_grid_map

_ROWS = 256
"""Rows of a head's attention that are computed at a time: they stay in the cache from the product to the softmax."""


def heads_of(extraction: Extraction, row: int, layers: Sequence[LayerInfo]) -> Iterator[tuple[Grid, Tensor, Tensor]]:
    """Yield (grid, q / sqrt(d), k) of every head of the photo at `row`, q and k (n, d) float32.

    Raises:
        FeatureError: a layer holds NaN or infinity.
    """
    for layer in layers:
        q, k = (extraction.layers[layer.name][name][row] for name in ("q", "k"))
        for name, tensor in (("q", q), ("k", k)):
            if not bool(tensor.isfinite().all()):
                raise FeatureError(f"layer {layer.name}: {name} holds NaN or infinity; use `dtype=float32`")
        width = layer.dim // layer.heads
        for q_head, k_head in zip(q.split(width, dim=1), k.split(width, dim=1), strict=True):
            yield extraction.grids[layer.name], q_head / math.sqrt(width), k_head


def attention_blocks(q: Tensor, k: Tensor) -> Iterator[Tensor]:
    """Yield D^-1 A of one head in blocks of `_ROWS` rows: softmax(q k^T) (rows, n) float32; q is already scaled."""
    for rows in q.split(_ROWS):
        yield torch.softmax(rows @ k.T, dim=1)


def balanced_attention(q: Tensor, k: Tensor) -> Tensor:
    """Return (n, n) float32 whose symmetric part is D'^-1/2 B D'^-1/2, B that of D^-1 A and D' its row sums."""
    walk = torch.cat(list(attention_blocks(q, k)))
    # Rows of D^-1 A sum to 1, so those of its symmetric part sum to half of 1 + the column's sum.
    scale = ((1 + walk.sum(dim=0)) / 2).rsqrt()
    return walk.mul_(scale[:, None]).mul_(scale)


def head_graph(q: Tensor, k: Tensor, normalisation: Normalisation) -> Tensor:
    """Return S of one head, (n, n) float32, symmetric; see `MergedAttention`."""
    require_normalisation(normalisation)
    balanced = normalisation == "symmetric"
    return _symmetric_part(balanced_attention(q, k) if balanced else torch.cat(list(attention_blocks(q, k))))


def _symmetric_part(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


class MergedAttention:
    """The mean over graphs of g^T S g, summed up head by head over one or more forward passes.

    Args:
        grid: the photo's grid (h, w), the finest of its layers.
        normalisation: ``random_walk``: S is the symmetric part of D^-1 A (Eqn. 3 as written); its eigenvalues can
            exceed 1 where many nodes attend to a few. ``symmetric``: S is D'^-1/2 B D'^-1/2 with B that symmetric part
            and D' its row sums (normalised cut, no eigenvalue above 1).

    Attributes:
        graphs: number of graphs added.
    """

    def __init__(self, grid: Grid, normalisation: Normalisation) -> None:
        require_normalisation(normalisation)
        self.grid = grid
        self.graphs = 0
        self._balanced = normalisation == "symmetric"
        self._sums: dict[Grid, Tensor] = {}

    def add(self, extraction: Extraction, row: int, layers: Sequence[LayerInfo]) -> None:
        """Add every head of every layer of the photo at `row` of an extraction.

        Raises:
            FeatureError: a layer holds NaN or infinity.
        """
        for grid, q, k in heads_of(extraction, row, layers):
            if grid not in self._sums:
                self._sums[grid] = torch.zeros((len(q), len(q)), dtype=torch.float32, device=q.device)
            self.graphs += 1
            if self._balanced:
                self._sums[grid] += balanced_attention(q, k)
            else:
                for rows, block in zip(self._sums[grid].split(_ROWS), attention_blocks(q, k), strict=True):
                    rows += block

    def matrix(self) -> np.ndarray:
        """Return the operator, (N, N) float64, symmetric.

        Raises:
            GraphError: nothing was added.
        """
        if not self.graphs:
            raise GraphError("no attention was added; choose at least one layer with `layers`")
        nodes = self.grid[0] * self.grid[1]
        merged = np.zeros((nodes, nodes))
        for grid, total in self._sums.items():
            part = _symmetric_part(total).double().cpu().numpy()
            g = scaled_grid_map(self.grid, grid)
            # A product of sparse and dense is dense; the transposes keep the sparse factor on the left.
            merged += part if g is None else g.T @ (g.T @ part).T
        # The two factors of g round differently above and below the diagonal.
        return (merged + merged.T) / (2 * self.graphs)
