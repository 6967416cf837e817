"""Results in float64 and how far the same sums in floating point may be from them, for comparisons on a GPU.

A sum of n products in any order has an error of at most n roundings of the sum of their sizes (N. J. Higham, "Accuracy
and Stability of Numerical Algorithms", sec. 3.1). Sums over a row are cut into segments, whose sums are added in turn.
Each function returns the result and its bound, both float64.
"""

from __future__ import annotations

import numpy as np
import torch
from dense_cases import adam_step
from matrices import SEGMENT
from scipy.sparse import csr_matrix

Bounded = tuple[np.ndarray, np.ndarray]
EPS = float(np.finfo(np.float32).eps)


def require_within(got: torch.Tensor, expected: Bounded, what: str = "the result") -> None:
    """Compare; NaN, and another shape, are too far."""
    value, bound = expected
    given = got.detach().double().cpu().numpy()
    assert given.shape == value.shape, f"{what} has shape {given.shape}, expected {value.shape}"
    error = np.abs(given - value)
    assert (error <= bound).all(), f"{what} is {np.max(error / np.maximum(bound, 1e-300), initial=0):.3g} bounds away"


def double(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def steps(lengths: np.ndarray, more: int) -> np.ndarray:
    """The roundings that meet in one sum of so many products, (n, 1)."""
    return np.minimum(lengths, SEGMENT + 8 + lengths // SEGMENT)[:, None] + float(more)


def sparse(indptr: torch.Tensor, indices: torch.Tensor, values: np.ndarray, columns: int) -> csr_matrix:
    # SciPy sorts rows in place.
    return csr_matrix((values, indices.numpy(), indptr.numpy()), shape=(len(indptr) - 1, columns), copy=True)


def spmm(indptr, indices, values, x) -> Bounded:
    """A x."""
    a, given = sparse(indptr, indices, double(values), len(x)), double(x)
    eps = torch.finfo(values.dtype).eps
    size = abs(a) @ np.abs(given)
    return a @ given, steps(np.diff(indptr.numpy()), 2) * eps * size


def spmm_transposed(indptr, indices, values, x, columns: int) -> Bounded:
    """A^T x."""
    a, given = sparse(indptr, indices, double(values), columns), double(x)
    lengths = np.bincount(indices.numpy(), minlength=columns)
    eps = torch.finfo(values.dtype).eps
    return a.T @ given, steps(lengths, 2) * eps * (abs(a).T @ np.abs(given))


def sddmm(indptr, indices, a, b) -> Bounded:
    """a_i . b_j for each entry (i, j)."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.numpy()))
    terms = double(a)[rows] * double(b)[indices.numpy()]
    return terms.sum(axis=1), (a.shape[1] + 2) * torch.finfo(a.dtype).eps * np.abs(terms).sum(axis=1)


def chebyshev_step(indptr, indices, values, x, own, y, gain: float, shift: float, keep: float) -> Bounded:
    """gain A x + shift own + keep y."""
    product, size = spmm(indptr, indices, values, x)[0], abs(sparse(indptr, indices, double(values), len(x)))
    parts = gain * product, shift * double(own), keep * double(y)
    sizes = abs(gain) * (size @ np.abs(double(x))) + abs(parts[1]) + abs(parts[2])
    return sum(parts), steps(np.diff(indptr.numpy()), 6) * EPS * sizes


def balanced(indptr, indices, values, inverse_degree) -> csr_matrix:
    """The matrix a_ij (d_i + d_j) that `rayleigh` multiplies with."""
    d, rows = double(inverse_degree), np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.numpy()))
    return sparse(indptr, indices, double(values) * (d[rows] + d[indices.numpy()]), len(d))


def rayleigh(indptr, indices, values, inverse_degree, u) -> tuple[Bounded, Bounded]:
    """s and the gradient; s is half of u . gradient, so it has the error of the gradient."""
    a, given = balanced(indptr, indices, values, inverse_degree), double(u)
    gradient, bound = a @ given, steps(np.diff(indptr.numpy()), 4) * EPS * (abs(a) @ np.abs(given))
    s, error = 0.5 * (given * gradient).sum(axis=0), 0.5 * (np.abs(given) * bound).sum(axis=0)
    return (s, error + 1e-12 * (np.abs(given) * np.abs(gradient)).sum(axis=0)), (gradient, bound)


def rayleigh_derivative(indptr, indices, values, inverse_degree, u) -> Bounded:
    """The derivative of the sum of s plus that of the squares of the gradient, g + 2 A g, from a rounded g."""
    a = balanced(indptr, indices, values, inverse_degree)
    gradient, bound = rayleigh(indptr, indices, values, inverse_degree, u)[1]
    second, size = 2 * (a @ gradient), 2 * (abs(a) @ np.abs(gradient))
    error = bound + 2 * (abs(a) @ bound) + steps(np.diff(indptr.numpy()), 6) * EPS * size
    return gradient + second, error + 2 * EPS * np.abs(gradient)


def degrees(indptr, values) -> Bounded:
    """The sums of the rows, added in float64 and rounded once."""
    summed = csr_matrix((double(values), np.zeros(len(values), np.int32), indptr.numpy()), shape=(len(indptr) - 1, 1))
    total, size = (np.asarray(part.sum(axis=1)).ravel() for part in (summed, abs(summed)))
    return total, EPS * np.abs(total) + 1e-12 * size


def adam(x, m, v, gradient, step, rate: float) -> list[Bounded]:
    """x, m and v after one step."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    state = [part.numpy() for part in (x, m, v, gradient)]
    values = adam_step(*state, step.numpy(), rate, beta1, beta2, epsilon)
    x, m, v, gradient = (part.astype(float) for part in state)
    count = step.numpy().astype(float)[:, None]
    sizes = beta1 * np.abs(m) + (1 - beta1) * np.abs(gradient), values[2]
    moved = rate * sizes[0] / (1 - beta1**count) / (np.sqrt(values[2] / (1 - beta2**count)) + epsilon)
    return [
        (values[0], EPS * (np.abs(x) + 16 * moved)),
        (values[1], 4 * EPS * sizes[0]),
        (values[2], 6 * EPS * sizes[1]),
    ]


def gram(x, y) -> Bounded:
    """X^T Y, added in float64."""
    a, b = double(x), double(y)
    return a.T @ b, 2 * (len(a) + 2) * np.finfo(float).eps * (np.abs(a).T @ np.abs(b))


def rotate(x, u) -> Bounded:
    """X U, added in float64 and rounded once."""
    a, b = double(x), double(u)
    return a @ b, EPS * (np.abs(a) @ np.abs(b))


def unit_project(x, mean, basis) -> list[Bounded]:
    """Unit rows, scales and coordinates."""
    centred = double(x.float() - mean)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    scale = np.divide(1, norm, out=np.zeros_like(norm), where=norm > 0)
    unit, directions = centred * scale, double(basis)
    size = np.abs(unit) @ np.abs(directions)
    return [
        (unit, 4 * EPS * np.abs(unit)),
        (scale[:, 0], 2 * EPS * scale[:, 0]),
        (unit @ directions, (unit.shape[1] + 6) * EPS * size),
    ]
