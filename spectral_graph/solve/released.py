"""The objective as the authors' published script computes it (preset `released`), value and gradient.

It departs from Eqn. 4 as written (https://github.com/xiao7199/layer_distributed_spectral_clustering, dataset mode):

- the stored numbers are logits: X is their softmax over the channels of each node;
- both terms are taken per graph on u, the columns of g(X) scaled to unit length over the mini-batch;
- s_c = u_c^T D^-1 A u_c with 1 / degree + 1e-6 for D^-1, and the first term is the mean of w |s_c - 1|;
- the second term is the mean of w (u^T u)_ij^2 over i != j, not a Frobenius norm;
- a graph of grid side a has the weight w = 32 / a.

The script divides by the degree of a node without edges; here its D^-1 is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from spectral_graph.graph.blocks import Block
from spectral_graph.ops import gram, rayleigh, rotate
from spectral_graph.solve.objective import TINY, LayerGraph, Objective, by_grid, column_dots
from spectral_graph.solve.resample import BatchMap

ADDED_TO_INVERSE_DEGREE = 1e-6
SIDE_OF_WEIGHT_ONE = 32.0


def released_graph(block: Block, nodes_per_image: int, resample: BatchMap | None = None) -> LayerGraph:
    """Take over a stored block with the script's D^-1 and weight; the side of a grid is the root of its nodes."""
    weight = SIDE_OF_WEIGHT_ONE / float(np.sqrt(nodes_per_image))
    return LayerGraph.of(block, ADDED_TO_INVERSE_DEGREE, weight, resample)


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Return X (n, C) float32: the softmax of each row of the stored logits."""
    return torch.softmax(logits, dim=1)


def released_loss_and_gradient(graphs: Sequence[LayerGraph], logits: torch.Tensor) -> tuple[Objective, torch.Tensor]:
    """Return the objective at the logits (n, C) float32, and its gradient by them (n, C) float32."""
    channels = logits.shape[1]
    x = probabilities(logits)
    pairs = max(1, channels * (channels - 1))
    by_x = torch.zeros_like(x)
    distance = orthogonality = 0.0
    for resample, members in by_grid(graphs):
        seen = x if resample is None else resample.forward(x)
        square = gram(seen).numpy()
        norm = np.sqrt(np.maximum(np.diag(square), TINY))
        scale = torch.from_numpy(norm.astype(np.float32))
        u = seen / scale
        by_u = torch.zeros_like(u)
        for graph in members:
            quotient, slope = rayleigh(graph.indptr, graph.indices, graph.values, graph.inverse_degree, u)
            s = quotient.numpy()
            distance += graph.weight * float(np.abs(s - 1).sum())
            by_u += torch.from_numpy((graph.weight * np.sign(s - 1)).astype(np.float32)) * slope
        by_u /= len(graphs) * channels
        # The graphs of one grid share u, so the second term needs the sum of their weights only.
        weight = sum(graph.weight for graph in members) / len(graphs)
        cosines = square / np.outer(norm, norm)
        np.fill_diagonal(cosines, 0)
        orthogonality += weight * float(np.square(cosines).sum()) / pairs
        by_u += rotate(u, torch.from_numpy(cosines * (4 * weight / pairs)))
        by_seen = (by_u - u * torch.from_numpy(column_dots(u, by_u).astype(np.float32))) / scale
        by_x += by_seen if resample is None else resample.backward(by_seen)
    eigenvalue = distance / (len(graphs) * channels)
    along = np.einsum("nc,nc->n", x.numpy(), by_x.numpy(), dtype=np.float64).astype(np.float32)
    gradient = x * (by_x - torch.from_numpy(along)[:, None])
    size = float(np.sqrt(column_dots(gradient, gradient).sum()))
    return Objective(eigenvalue + orthogonality, eigenvalue, orthogonality, size), gradient
