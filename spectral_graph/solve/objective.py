"""Eqn. 4 of the paper on one mini-batch: value and gradient, without a transpose and without autograd.

With u the columns of g(X) scaled to unit length over the mini-batch and s_c = u_c^T D^-1 A u_c,

    loss = mean over graphs and channels of |s_c - 1|  +  || X^T X / n - I ||_F

g resamples X to the grid of the graph's layer; it is the identity where both are one grid. A is symmetric, so
grad_u s = D^-1 A u + A D^-1 u: one pass over A gives value and gradient.
X^T X is divided by the number of rows n because X starts as N(0, 1) noise: then the second term starts near 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spectral_graph.graph.blocks import Block
from spectral_graph.graph.merge import inverse_degree
from spectral_graph.ops import gram, rayleigh, rotate
from spectral_graph.solve.resample import BatchMap

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class LayerGraph:
    """One symmetric affinity graph A over the nodes of a mini-batch.

    Attributes:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32.
        values: (nnz,) float32.
        inverse_degree: (n,) float32, 0 for nodes without edges.
        weight: of the graph among the others.
        resample: g on the mini-batch; None where the graph has the nodes of X. Layers of one grid share it.
    """

    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    inverse_degree: torch.Tensor
    weight: float = 1.0
    resample: BatchMap | None = None

    @classmethod
    def of(cls, block: Block, added: float = 0.0, weight: float = 1.0, resample: BatchMap | None = None) -> LayerGraph:
        """Take over a stored block; `added` is added to the inverse degree of each node with edges."""
        assert block.degree is not None
        inverse = inverse_degree(block.degree)
        inverse[inverse > 0] += added
        indptr, indices, values = (torch.from_numpy(part) for part in (block.indptr, block.indices, block.values))
        return cls(indptr, indices, values, torch.from_numpy(inverse.astype(np.float32)), weight, resample)


@dataclass(frozen=True)
class Objective:
    """The terms of the loss at one X.

    Attributes:
        loss: eigenvalue + orthogonality.
        eigenvalue: mean of |s - 1|.
        orthogonality: || X^T X / n - I ||_F.
        gradient_norm: Frobenius norm of the gradient.
    """

    loss: float
    eigenvalue: float
    orthogonality: float
    gradient_norm: float


def column_dots(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    """Return the column-wise dot products (C,) float64 of two (n, C) arrays, by one thread in a fixed order."""
    return np.einsum("nc,nc->c", a.numpy(), b.numpy(), dtype=np.float64)


def by_grid(graphs: Sequence[LayerGraph]) -> Iterator[tuple[BatchMap | None, list[LayerGraph]]]:
    """Yield g and the graphs that share it, in the order of the first graph of each grid."""
    maps = list(dict.fromkeys(graph.resample for graph in graphs))
    for resample in maps:
        yield resample, [graph for graph in graphs if graph.resample is resample]


def loss_and_gradient(graphs: Sequence[LayerGraph], x: torch.Tensor) -> tuple[Objective, torch.Tensor]:
    """Return the objective at x (n, C) float32, and its gradient (n, C) float32."""
    n, channels = x.shape
    square = gram(x).numpy()
    terms = len(graphs) * channels
    gradient = torch.zeros_like(x)
    distance = 0.0
    for resample, members in by_grid(graphs):
        seen = x if resample is None else resample.forward(x)
        norms = np.diag(square) if resample is None else column_dots(seen, seen)
        norm = torch.from_numpy(np.sqrt(np.maximum(norms, TINY)).astype(np.float32))
        u = seen / norm
        by_u = torch.zeros_like(u)
        for graph in members:
            quotient, slope = rayleigh(graph.indptr, graph.indices, graph.values, graph.inverse_degree, u)
            s = quotient.numpy()
            distance += float(np.abs(s - 1).sum())
            by_u += torch.from_numpy(np.sign(s - 1).astype(np.float32)) * slope
        by_u /= terms
        by_seen = (by_u - u * torch.from_numpy(column_dots(u, by_u).astype(np.float32))) / norm
        gradient += by_seen if resample is None else resample.backward(by_seen)
    departure = square / n - np.eye(channels)
    frobenius = float(np.linalg.norm(departure))
    if frobenius > 0:
        gradient += rotate(x, torch.from_numpy(departure * (2 / (n * frobenius))))
    size = float(np.sqrt(column_dots(gradient, gradient).sum()))
    return Objective(distance / terms + frobenius, distance / terms, frobenius, size), gradient
