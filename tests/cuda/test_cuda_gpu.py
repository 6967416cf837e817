"""The CUDA operators on a GPU against those of the CPU. Not run so far: the kernels were executed in emulation only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernel_cases import SEGMENT, matrix, product, spmm_lengths

from spectral_graph import ops
from spectral_graph.errors import GraphError
from spectral_graph.ops.cuda import load_cuda
from spectral_graph.ops.library import call


def obstacle() -> str:
    """Why the operators cannot run on a GPU here."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA GPU"
    return load_cuda()


pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")


def on_gpu(*tensors):
    return [tensor.cuda() for tensor in tensors]


@pytest.mark.parametrize("name", list(spmm_lengths()))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_spmm(name, dtype):
    lengths = spmm_lengths()[name]
    csr = matrix(lengths, 37, dtype=dtype)
    for channels in (1, 3, 16, 50, 64, 100, 128, 1100):
        x = np.random.default_rng(1).standard_normal((37, channels)).astype(dtype)
        tensors = on_gpu(*map(torch.from_numpy, (*csr, x)))
        first, second = ops.csr_spmm(*tensors), ops.csr_spmm(*tensors, check=False)
        expected, size = product(*csr, x)
        bound = (np.array(lengths)[:, None] + 2) * np.finfo(dtype).eps * size
        assert (np.abs(first.cpu().numpy() - expected) <= bound).all()
        assert torch.equal(first, second)


def test_csr_spmm_on_a_large_matrix():
    generator = np.random.default_rng(0)
    lengths = generator.zipf(1.7, 200_000).clip(max=100_000)
    csr = tuple(map(torch.from_numpy, matrix(lengths, 200_000)))
    x = torch.randn(200_000, 50)
    got, expected = ops.csr_spmm(*on_gpu(*csr, x)).cpu(), ops.csr_spmm(*csr, x)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-2)


def test_csr_spmm_names_what_is_wrong():
    indptr, indices, values = map(torch.from_numpy, matrix([2, 3, SEGMENT], 30))
    indices[5] = 30
    message = r"csr_spmm: indices must lie in \[0, 30\), got indices\[5\] = 30"
    with pytest.raises(GraphError, match=message):
        ops.csr_spmm(*on_gpu(indptr, indices, values, torch.zeros(30, 2)))
    with pytest.raises(GraphError, match="values must be on a GPU"):
        torch_op = torch.ops.spectral_graph.csr_spmm.default
        call(torch_op, indptr.cuda(), indices.cuda(), values, torch.zeros(30, 2).cuda(), True)


@pytest.mark.parametrize(("rows", "left", "right"), [(0, 5, 5), (100_003, 50, 50), (5000, 130, 7)])
def test_gram(rows, left, right):
    x, y = torch.randn(rows, left), torch.randn(rows, right)
    torch.testing.assert_close(ops.gram(*on_gpu(x, y)).cpu(), ops.gram(x, y), rtol=1e-11, atol=1e-9)
    own = ops.gram(x.cuda())
    torch.testing.assert_close(own.cpu(), ops.gram(x), rtol=1e-11, atol=1e-9)
    assert torch.equal(own, own.T) and torch.equal(own, ops.gram(x.cuda()))


@pytest.mark.parametrize(("rows", "channels", "width"), [(0, 3, 3), (100_003, 50, 50), (77, 130, 67)])
def test_rotate(rows, channels, width):
    x, u = torch.randn(rows, channels), torch.randn(channels, width, dtype=torch.float64)
    torch.testing.assert_close(ops.rotate(*on_gpu(x, u)).cpu(), ops.rotate(x, u), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("c_intra", "c_inter", "threshold"), [(5, 20, 0.0), (0, 300, 0.0), (2000, 3, 4.0)])
def test_topc_affinity(c_intra, c_inter, threshold):
    """Small whole numbers: every product is exact, in whatever order cuBLAS adds, so the graphs are the same."""
    query, key = (torch.randint(-3, 4, (3000, 32)).float() for _ in range(2))
    ptr = torch.tensor([0, 1000, 1000, 1001, 3000])
    got = ops.topc_affinity(*on_gpu(query, key, ptr), c_intra, c_inter, threshold)
    expected = ops.topc_affinity(query, key, ptr, c_intra, c_inter, threshold)
    for part, reference in zip(got, expected, strict=True):
        assert torch.equal(part.cpu(), reference)


def test_topc_affinity_has_a_limit():
    query = torch.randn(3000, 4).cuda()
    with pytest.raises(GraphError, match="c_inter must be at most 2048 on a GPU, got 2500"):
        ops.topc_affinity(query, query, torch.tensor([0, 100, 3000]).cuda(), 1, 2500)
