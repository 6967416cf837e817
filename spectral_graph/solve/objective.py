"""Eqn. 4 of the paper on one mini-batch: value and gradient, without a transpose and without autograd.

With u the columns of X scaled to unit length over the mini-batch and s_c = u_c^T D^-1 A u_c,

    loss = mean over graphs and channels of |s_c - 1|  +  || X^T X / n - I ||_F

A is symmetric, so grad_u s = D^-1 A u + A D^-1 u: one pass over A gives value and gradient.
X^T X is divided by the number of rows n because X starts as N(0, 1) noise: then the second term starts near 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spectral_graph.graph.blocks import Block
from spectral_graph.graph.merge import inverse_degree
from spectral_graph.ops import gram, rayleigh, rotate

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
    """

    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    inverse_degree: torch.Tensor
    weight: float = 1.0

    @classmethod
    def of(cls, block: Block, added: float = 0.0, weight: float = 1.0) -> LayerGraph:
        """Take over a stored block; `added` is added to the inverse degree of each node with edges."""
        assert block.degree is not None
        inverse = inverse_degree(block.degree)
        inverse[inverse > 0] += added
        indptr, indices, values = (torch.from_numpy(part) for part in (block.indptr, block.indices, block.values))
        return cls(indptr, indices, values, torch.from_numpy(inverse.astype(np.float32)), weight)


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


def loss_and_gradient(graphs: Sequence[LayerGraph], x: torch.Tensor) -> tuple[Objective, torch.Tensor]:
    """Return the objective at x (n, C) float32, and its gradient (n, C) float32."""
    n, channels = x.shape
    square = gram(x).numpy()
    norm = np.sqrt(np.maximum(np.diag(square), TINY))
    u = x / torch.from_numpy(norm.astype(np.float32))
    gradient_u = torch.zeros_like(u)
    distance = 0.0
    for graph in graphs:
        quotient, slope = rayleigh(graph.indptr, graph.indices, graph.values, graph.inverse_degree, u)
        s = quotient.numpy()
        distance += float(np.abs(s - 1).sum())
        sign = torch.from_numpy(np.sign(s - 1).astype(np.float32))
        gradient_u += sign * slope
    terms = len(graphs) * channels
    gradient_u /= terms
    along = torch.from_numpy(column_dots(u, gradient_u).astype(np.float32))
    gradient = (gradient_u - u * along) / torch.from_numpy(norm.astype(np.float32))
    departure = square / n - np.eye(channels)
    frobenius = float(np.linalg.norm(departure))
    if frobenius > 0:
        gradient += rotate(x, torch.from_numpy(departure * (2 / (n * frobenius))))
    size = float(np.sqrt(column_dots(gradient, gradient).sum()))
    return Objective(distance / terms + frobenius, distance / terms, frobenius, size), gradient
