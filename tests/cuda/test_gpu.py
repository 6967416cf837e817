"""The CUDA operators on a GPU within bounds of float64, or equal to those of the CPU. So far run in emulation only."""

from __future__ import annotations

import bounds
import numpy as np
import pytest
import torch
from bounds import require_within
from matrices import SEGMENT, matrix, product, row_lengths
from row_cases import cell_problem, cosine_problem
from topc_cases import candidate_lists

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


@pytest.mark.parametrize("name", list(row_lengths()))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_csr_spmm(name, dtype):
    lengths = row_lengths()[name]
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
    require_within(ops.csr_spmm(*on_gpu(*csr, x)), bounds.spmm(*csr, x))


def test_csr_spmm_names_what_is_wrong():
    indptr, indices, values = map(torch.from_numpy, matrix([2, 3, SEGMENT], 30))
    indices[5] = 30
    message = r"csr_spmm: indices must lie in \[0, 30\), got indices\[5\] = 30"
    with pytest.raises(GraphError, match=message):
        ops.csr_spmm(*on_gpu(indptr, indices, values, torch.zeros(30, 2)))
    with pytest.raises(GraphError, match="values must be on a GPU"):
        torch_op = torch.ops.spectral_graph.csr_spmm.default
        call(torch_op, indptr.cuda(), indices.cuda(), values, torch.zeros(30, 2).cuda(), True)


@pytest.mark.parametrize("channels", [3, 50, 64])
def test_csr_spmm_of_bfloat16(channels):
    csr = tuple(map(torch.from_numpy, matrix(np.random.default_rng(0).integers(0, 200, 3000), 3000)))
    x = torch.randn(3000, channels).bfloat16()
    got = ops.csr_spmm(*on_gpu(*csr, x))
    assert got.dtype == torch.float32
    require_within(got, bounds.spmm(*csr, x))


def square(lengths, columns: int | None = None):
    return tuple(map(torch.from_numpy, matrix(lengths, columns or len(lengths))))


LARGE = np.random.default_rng(0).zipf(1.7, 20_000).clip(max=20_000).tolist()


@pytest.mark.parametrize("lengths", [*row_lengths().values(), [], LARGE])
def test_rayleigh(lengths):
    csr, n = square(lengths, max(1, len(lengths))), len(lengths)
    for channels in (1, 6, 50, 64):
        u, inverse = torch.randn(n, channels), torch.rand(n)
        got, again = (ops.rayleigh(*on_gpu(*csr, inverse, u)) for _ in range(2))
        for part, second, expected in zip(got, again, bounds.rayleigh(*csr, inverse, u), strict=True):
            require_within(part, expected)
            assert torch.equal(part, second)


def test_rayleigh_has_a_derivative():
    csr, inverse, u = square([5] * 40), torch.rand(40), torch.randn(40, 6)
    ours = u.cuda().requires_grad_()
    s, gradient = ops.rayleigh(*on_gpu(*csr, inverse), ours)
    (s.sum() + gradient.square().sum()).backward()
    require_within(ours.grad, bounds.rayleigh_derivative(*csr, inverse, u))


@pytest.mark.parametrize("lengths", [*row_lengths().values(), [], LARGE])
def test_csr_transpose_and_csr_symmetrise(lengths):
    csr, n = square(lengths, max(1, len(lengths))), len(lengths)
    for got, expected in zip(ops.csr_transpose(*on_gpu(*csr), n + 3), ops.csr_transpose(*csr, n + 3), strict=True):
        assert torch.equal(got.cpu(), expected)
    *got, degree = ops.csr_symmetrise(*on_gpu(*csr), n)
    *expected, _ = ops.csr_symmetrise(*csr, n)
    for part, reference in zip(got, expected, strict=True):
        assert torch.equal(part.cpu(), reference)
    require_within(degree, bounds.degrees(expected[0], expected[2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [row_lengths()["hubs"], row_lengths()["empty"], LARGE])
def test_csr_sddmm_and_csr_spmm_transposed(lengths, dtype):
    indptr, indices, values = square(lengths, 500)
    values = values.to(dtype)
    for channels in (1, 6, 50, 64):
        a, b = torch.randn(len(lengths), channels).to(dtype), torch.randn(500, channels).to(dtype)
        require_within(ops.csr_sddmm(*on_gpu(indptr, indices, a, b)), bounds.sddmm(indptr, indices, a, b))
        got = ops.csr_spmm_transposed(*on_gpu(indptr, indices, values, a), 500)
        require_within(got, bounds.spmm_transposed(indptr, indices, values, a, 500))


def test_csr_spmm_has_derivatives():
    indptr, indices, values = square([7] * 60)
    x, weight = torch.randn(60, 50), torch.randn(60, 50)
    v, y = (part.cuda().requires_grad_() for part in (values, x))
    (ops.csr_spmm(*on_gpu(indptr, indices), v, y) * weight.cuda()).sum().backward()
    require_within(v.grad, bounds.sddmm(indptr, indices, weight, x))
    require_within(y.grad, bounds.spmm_transposed(indptr, indices, values, weight, 60))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("channels", [3, 50, 64, 1100])
def test_adam_rows(channels, dtype):
    state = [torch.rand(1000, channels) for _ in range(4)]
    step = torch.randint(1, 3000, (1000,)).to(dtype)
    there = on_gpu(*state, step)
    ops.adam_rows_(*there, 0.05)
    for part, expected in zip(there[:3], bounds.adam(*state, step, 0.05), strict=True):
        require_within(part, expected)


def test_adam_rows_changes_nothing_before_a_refusal():
    state, step = [torch.rand(1000, 50).cuda() for _ in range(4)], torch.ones(1000).cuda()
    before = [part.clone() for part in state]
    step[400] = 0
    with pytest.raises(GraphError, match=r"step must be at least 1, got step\[400\] = 0"):
        ops.adam_rows_(*state, step, 0.05)
    assert all(torch.equal(*pair) for pair in zip(state, before, strict=True))


@pytest.mark.parametrize(("count", "most", "c"), [(1, 90, 7), (18, 20, 5), (3, 40, 1000), (2, 700, 300)])
def test_topc_merge(count, most, c):
    lists = [tuple(map(torch.from_numpy, one)) for one in candidate_lists(count, 300, most, 400)]
    columns = [[one[k] for one in lists] for k in range(3)]
    got = ops.topc_merge(*([part.cuda() for part in parts] for parts in columns), c)
    for part, reference in zip(got, ops.topc_merge(*columns, c), strict=True):
        assert torch.equal(part.cpu(), reference)


@pytest.mark.parametrize(("rows", "left", "right"), [(0, 5, 5), (100_003, 50, 50), (5000, 130, 7)])
def test_gram(rows, left, right):
    x, y = torch.randn(rows, left), torch.randn(rows, right)
    require_within(ops.gram(*on_gpu(x, y)), bounds.gram(x, y))
    own = ops.gram(x.cuda())
    require_within(own, bounds.gram(x, x))
    assert torch.equal(own, own.T) and torch.equal(own, ops.gram(x.cuda()))


@pytest.mark.parametrize(("rows", "channels", "width"), [(0, 3, 3), (100_003, 50, 50), (77, 130, 67)])
def test_rotate(rows, channels, width):
    x, u = torch.randn(rows, channels), torch.randn(channels, width, dtype=torch.float64)
    require_within(ops.rotate(*on_gpu(x, u)), bounds.rotate(x, u))


@pytest.mark.parametrize(("c_intra", "c_inter", "threshold"), [(5, 20, 0.0), (0, 300, 0.0), (2000, 3, 4.0)])
def test_topc_affinity(c_intra, c_inter, threshold):
    """Small whole numbers: every product is exact, in whatever order cuBLAS adds, so the graphs are the same."""
    query, key = (torch.randint(-3, 4, (3000, 32)).float() for _ in range(2))
    ptr = torch.tensor([0, 1000, 1000, 1001, 3000])
    got = ops.topc_affinity(*on_gpu(query, key, ptr), c_intra, c_inter, threshold)
    expected = ops.topc_affinity(query, key, ptr, c_intra, c_inter, threshold)
    for part, reference in zip(got, expected, strict=True):
        assert torch.equal(part.cpu(), reference)


@pytest.mark.parametrize("lengths", [*row_lengths().values(), [], LARGE])
@pytest.mark.parametrize(("gain", "shift", "keep"), [(1.5, -0.25, -1.0), (0.5, 2.0, 0.0)])
def test_chebyshev_step(lengths, gain, shift, keep):
    csr, rows = square(lengths, 500), len(lengths)
    for channels in (1, 6, 50, 64):
        x, own, y = torch.randn(500, channels), torch.randn(rows, channels), torch.randn(rows, channels)
        there, again = y.cuda(), y.cuda()
        for to in (there, again):
            ops.chebyshev_step_(*on_gpu(*csr, x, own), to, gain, shift, keep)
        require_within(there, bounds.chebyshev_step(*csr, x, own, y, gain, shift, keep))
        assert torch.equal(there, again)


def test_chebyshev_step_in_place_of_its_own_rows():
    csr = square([7] * 500)
    x, y = torch.randn(500, 50), torch.randn(500, 50)
    there = y.cuda()
    ops.chebyshev_step_(*on_gpu(*csr, x), there, there, 1.5, 0.5, -1.0)
    require_within(there, bounds.chebyshev_step(*csr, x, y, y, 1.5, 0.5, -1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("rows", "depth"), [(0, 8), (10_003, 384), (77, 33)])
def test_unit_project(rows, depth, dtype):
    x, mean, basis = torch.randn(rows, depth).to(dtype), torch.randn(depth), torch.randn(depth, 16)
    for part, expected in zip(
        ops.unit_project(*on_gpu(x, mean, basis)), bounds.unit_project(x, mean, basis), strict=True
    ):
        require_within(part, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("c", [0, 1, 20, 500])
def test_cosine_topc_and_cell_topc(c, dtype):
    """Small whole numbers: every product is exact, so the lists are the same."""
    cosines = list(map(torch.from_numpy, cosine_problem(2000, 5000, 64, 300, dtype)))
    cells = list(map(torch.from_numpy, cell_problem(2000, [100, 0, 400, 7, 900], 64, 3, dtype)))
    for op, arguments, more in ((ops.cosine_topc, cosines, (c, 0.5)), (ops.cell_topc, cells, (c,))):
        for part, reference in zip(op(*on_gpu(*arguments), *more), op(*arguments, *more), strict=True):
            assert torch.equal(part.cpu(), reference)


def test_cosines_of_a_gpu_are_symmetric():
    x = torch.randn(300, 384)
    unit, _, _ = ops.unit_project(*on_gpu(x, torch.randn(384), torch.randn(384, 2)))
    every = torch.arange(300, dtype=torch.int32).cuda()
    arguments = unit, unit, torch.zeros(384).cuda(), torch.ones(300).cuda(), every, every.repeat(300, 1)
    columns, values = ops.cosine_topc(*arguments, 300)
    found = torch.zeros(300, 301).cuda().scatter_(1, columns.long() % 301, values)[:, :300]
    assert torch.equal(found, found.T)


def test_the_searches_have_a_limit():
    cells = on_gpu(*map(torch.from_numpy, cell_problem(3, [3000], 8, 1)))
    with pytest.raises(GraphError, match="c must be at most 2048 on a GPU, got 2500"):
        ops.cell_topc(*cells, 2500)


def test_topc_affinity_has_a_limit():
    query = torch.randn(3000, 4).cuda()
    with pytest.raises(GraphError, match="c_inter must be at most 2048 on a GPU, got 2500"):
        ops.topc_affinity(query, query, torch.tensor([0, 100, 3000]).cuda(), 1, 2500)
