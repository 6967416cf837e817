import numpy as np
import pytest
import torch
from scipy.sparse import random as sparse_random

from spectral_graph.graph.blocks import Block
from spectral_graph.solve.objective import LayerGraph, loss_and_gradient


def random_graph(n, seed, isolated=()):
    upper = sparse_random(n, n, 0.2, random_state=seed, format="lil", dtype=np.float32)
    for node in isolated:
        upper[node] = 0
        upper[:, node] = 0
    matrix = (upper + upper.T).tocsr()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    block = Block(np.arange(n), matrix.indptr.astype(np.int64), matrix.indices, matrix.data, degree, {})
    return LayerGraph.of(block), torch.tensor(matrix.toarray(), dtype=torch.float64)


def reference_loss(matrices, x):
    """Eqn. 4, dense, in float64, for autograd."""
    n, channels = x.shape
    u = x / x.norm(dim=0)
    distance = 0
    for a in matrices:
        degree = a.sum(dim=1)
        inverse = torch.where(degree > 0, 1 / degree.clamp_min(1e-30), torch.zeros_like(degree))
        s = (u * (inverse[:, None] * (a @ u))).sum(dim=0)
        distance = distance + (s - 1).abs().sum()
    eye = torch.eye(channels, dtype=torch.float64)
    return distance / (len(matrices) * channels) + torch.linalg.matrix_norm(x.T @ x / n - eye)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("isolated", [(), (0, 7)])
def test_loss_and_gradient_equal_autograd(channels, isolated):
    pairs = [random_graph(40, seed, isolated) for seed in range(3)]
    x = torch.randn(40, channels, generator=torch.Generator().manual_seed(1))
    objective, gradient = loss_and_gradient([graph for graph, _ in pairs], x)
    reference = x.double().requires_grad_()
    loss = reference_loss([matrix for _, matrix in pairs], reference)
    loss.backward()
    assert objective.loss == pytest.approx(float(loss), rel=1e-5)
    assert objective.loss == pytest.approx(objective.eigenvalue + objective.orthogonality)
    torch.testing.assert_close(gradient.double(), reference.grad, rtol=1e-4, atol=1e-6)
    assert objective.gradient_norm == pytest.approx(float(reference.grad.norm()), rel=1e-4)
