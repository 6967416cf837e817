"""Every backend of csr_spmm against dense float64 NumPy, its derivatives, the choice of one, and what is refused."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph import ops
from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.ops.backends import find_backend, scipy_csr
from spectral_graph.ops.backends.registry import package_missing

HERE = [name for name in ops.BACKENDS if not find_backend(name).missing()]
CPU = pytest.mark.parametrize("backend", [name for name in HERE if name != "cupy"])


def random_csr(seed: int, n: int, m: int, per_row: int, dtype=torch.float32):
    """A matrix with unsorted columns, duplicates and empty rows, and the same one dense in float64."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, per_row + 1, n) * (rng.random(n) > 0.2) * (m > 0)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, max(m, 1), indptr[-1]).astype(np.int32)
    values = torch.from_numpy(rng.standard_normal(indptr[-1])).to(dtype)
    dense = np.zeros((n, m))
    np.add.at(dense, (np.repeat(np.arange(n), counts), indices), values.double().numpy())
    return (torch.from_numpy(indptr), torch.from_numpy(indices), values), dense


@CPU
@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 30),
    m=st.integers(0, 30),
    per_row=st.integers(0, 9),
    channels=st.integers(0, 40),
    double=st.booleans(),
)
def test_products_are_those_of_numpy(backend, seed, n, m, per_row, channels, double):
    dtype = torch.float64 if double else torch.float32
    tolerance = 1e-12 if double else 2e-4
    matrix, dense = random_csr(seed, n, m, per_row, dtype)
    x = torch.randn(m, channels, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    z = torch.randn(n, channels, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    with ops.use_backend(backend):
        once, back, prepared = ops.csr_spmm(*matrix, x), ops.csr_spmm_transposed(*matrix, z, m), None
        prepared = ops.CsrProduct(*matrix, m)
    for y in (once, prepared(x), prepared(x)):
        assert y.dtype == dtype and y.shape == (n, channels)
        np.testing.assert_allclose(y.numpy(), dense @ x.double().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back.numpy(), dense.T @ z.double().numpy(), rtol=tolerance, atol=tolerance)


@CPU
def test_a_bfloat16_x_is_widened_and_strides_do_not_matter(backend):
    matrix, dense = random_csr(1, 20, 15, 6)
    x = torch.randn(5, 15).T
    with ops.use_backend(backend):
        np.testing.assert_allclose(ops.csr_spmm(*matrix, x).numpy(), dense @ x.double().numpy(), atol=1e-4)
        y = ops.csr_spmm(*matrix, x.bfloat16())
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), dense @ x.bfloat16().double().numpy(), atol=1e-4)


@CPU
def test_nan_and_infinity_stay_in_their_column(backend):
    x = torch.zeros(4, 9)
    x[1, 0], x[2, 8] = torch.nan, torch.inf
    indptr, indices = torch.tensor([0, 1, 3]), torch.tensor([0, 1, 2], dtype=torch.int32)
    with ops.use_backend(backend):
        y = ops.csr_spmm(indptr, indices, torch.ones(3), x)
    assert not y[0].isnan().any()
    assert y[1].isnan().nonzero().tolist() == [[0]] and y[1].isinf().nonzero().tolist() == [[8]]


@CPU
def test_gradients_of_all_orders(backend):
    (indptr, indices, values), _ = random_csr(5, 6, 5, 4, torch.float64)
    values.requires_grad_()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    with ops.use_backend(backend):
        prepared = ops.CsrProduct(indptr, indices, values, 5)
        products = [
            (lambda v, x: ops.csr_spmm(indptr, indices, v, x), (values, x)),
            (lambda v, z: ops.csr_spmm_transposed(indptr, indices, v, z, 5), (values, z)),
            (lambda v, x: prepared(x), (values, x)),
        ]
        for function, arguments in products:
            assert torch.autograd.gradcheck(function, arguments)
            assert torch.autograd.gradgradcheck(function, arguments)


def test_the_gradient_is_computed_by_the_backend_of_the_product(monkeypatch):
    (indptr, indices, values), dense = random_csr(6, 8, 7, 4)
    x = torch.randn(7, 2, requires_grad=True)
    with ops.use_backend("scipy"):
        y = ops.csr_spmm(indptr, indices, values, x)
    seen = spy(monkeypatch)
    y.sum().backward()
    assert len(seen) == 1 and ops.current_backend() == "native"
    np.testing.assert_allclose(x.grad.numpy(), dense.T @ np.ones((8, 2)), atol=1e-5)


def test_opcheck_and_tracing():
    (indptr, indices, values), _ = random_csr(7, 6, 5, 4)
    values.requires_grad_()
    x = torch.randn(5, 3, requires_grad=True)
    operator = torch.ops.spectral_graph.csr_spmm_by.default
    torch.library.opcheck(operator, (indptr, indices, values, x, True, "scipy"))
    traced = torch.compile(lambda x: ops.csr_spmm(indptr, indices, values, x), fullgraph=True, backend="aot_eager")
    expected = ops.csr_spmm(indptr, indices, values, x)
    for backend in ("native", "scipy", "torch"):
        with ops.use_backend(backend):
            torch.testing.assert_close(traced(x), expected)


def spy(monkeypatch) -> list:
    """The matrices that the backend "scipy" gets from now on."""
    seen, prepare = [], scipy_csr.prepare
    monkeypatch.setattr(scipy_csr, "prepare", lambda matrix: seen.append(matrix) or prepare(matrix))
    return seen


def test_the_choice_holds_until_the_block_ends_or_for_good():
    try:
        with ops.use_backend("torch"):
            assert ops.current_backend() == "torch"
            with pytest.raises(ZeroDivisionError), ops.use_backend("scipy"):
                assert ops.current_backend() == "scipy"
                1 / 0  # noqa: B018
            assert ops.current_backend() == "torch"
        assert ops.current_backend() == "native"
        ops.use_backend("scipy")
        assert ops.current_backend() == "scipy"
    finally:
        ops.use_backend("native")


def test_threads_and_tasks_choose_for_themselves():
    inside, other = threading.Barrier(2), []

    def choose(name):
        with ops.use_backend(name):
            inside.wait()
            other.append((name, ops.current_backend()))

    threads = [threading.Thread(target=choose, args=(name,)) for name in ("scipy", "torch")]
    with ops.use_backend("scipy"):
        fresh = []
        thread = threading.Thread(target=lambda: fresh.append(ops.current_backend()))
        for each in (*threads, thread):
            each.start()
        for each in (*threads, thread):
            each.join()
    assert sorted(other) == [("scipy", "scipy"), ("torch", "torch")] and fresh == ["native"]

    async def task(name):
        with ops.use_backend(name):
            await asyncio.sleep(0)
            return ops.current_backend()

    async def both():
        return await asyncio.gather(asyncio.create_task(task("scipy")), asyncio.create_task(task("torch")))

    assert asyncio.run(both()) == ["scipy", "torch"]


@pytest.mark.skipif("numba" not in HERE, reason="numba is not installed")
def test_numba_may_be_called_by_several_threads():
    matrix, dense = random_csr(8, 300, 300, 9)
    x = torch.randn(300, 20)
    wrong = []

    def work():
        with ops.use_backend("numba"):
            for _ in range(20):
                off = np.abs(ops.csr_spmm(*matrix, x).numpy() - dense @ x.double().numpy()).max()
                wrong.extend([off] if off > 1e-3 else [])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_graph_on_disk_is_multiplied_by_the_chosen_backend(monkeypatch):
    from spectral_graph.graph.blocks import Block
    from spectral_graph.graph.operator import BlockOperator

    (indptr, indices, values), dense = random_csr(9, 12, 12, 5)
    block = Block(np.arange(12), indptr.numpy(), indices.numpy(), values.numpy(), None, {})
    store = types.SimpleNamespace(path="graph", read=lambda name: block)
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    seen = spy(monkeypatch)
    with ops.use_backend("scipy"):
        y = BlockOperator(store, ["a"], 12, 1) @ x
    assert len(seen) == 1
    np.testing.assert_allclose(y, dense @ x, atol=1e-5)


def test_unknown_and_missing_backends_say_what_to_do(monkeypatch):
    with pytest.raises(ConfigError, match='no backend "mkl" of csr_spmm; choose one of native, torch, torch_sparse'):
        ops.use_backend("mkl")
    monkeypatch.setattr(scipy_csr, "missing", lambda: package_missing("no_such_package", "pip install it"))
    text = 'backend "scipy" of csr_spmm cannot be used: the package no_such_package is not installed; install it: pip'
    with pytest.raises(ConfigError, match=text):
        ops.use_backend("scipy")
    with pytest.raises(ConfigError, match=text):
        ops.CsrProduct(torch.tensor([0]), torch.tensor([], dtype=torch.int32), torch.tensor([]), 3, backend="scipy")
    assert ops.current_backend() == "native"


MATRIX = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 1], dtype=torch.int32), torch.ones(3)
MISTAKES = [
    ((*MATRIX, torch.ones(2)), "x must have 2 dimensions, got the shape (2,)"),
    ((*MATRIX, torch.ones(2, 2).half()), "x must be float32, float64 or bfloat16, got float16"),
    ((MATRIX[0], MATRIX[1].long(), MATRIX[2], torch.ones(2, 2)), "indices must be int32, got int64"),
    ((MATRIX[0], MATRIX[1] + 1, MATRIX[2], torch.ones(2, 2)), "indices must lie in [0, 2), got indices[1] = 2"),
    (
        (torch.tensor([0, 4, 2, 3]), *MATRIX[1:], torch.ones(2, 2)),
        "indptr must not decrease, got indptr[1] = 4 and indptr[2] = 2",
    ),
]


@CPU
@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_are_named_in_the_same_words_by_every_backend(backend, arguments, text):
    with ops.use_backend(backend), pytest.raises(GraphError) as error:
        ops.csr_spmm(*arguments)
    assert str(error.value) == f"spectral_graph::csr_spmm: {text}"


@CPU
def test_a_prepared_product_refuses_what_does_not_fit(backend):
    product = ops.CsrProduct(*MATRIX, 2, backend=backend)
    assert product.backend == backend and product.shape == (2, 2)
    with pytest.raises(GraphError, match="csr_spmm: x must have as many rows as the matrix columns, 2, got 3"):
        product(torch.ones(3, 2))
    with pytest.raises(GraphError, match="csr_spmm: values must be float64, got float32"):
        product(torch.ones(2, 2, dtype=torch.float64))
    with pytest.raises(GraphError, match=r"csr_spmm: indices must lie in \[0, 1\), got indices\[1\] = 1"):
        ops.CsrProduct(*MATRIX, 1, backend=backend)


def test_torch_sparse_is_handed_a_matrix_in_compressed_rows(monkeypatch):
    """The package takes half an hour to compile, so a stand-in notes what it gets and multiplies with SciPy."""
    import scipy.sparse

    class SparseTensor:
        def __init__(self, *, rowptr, col, value, sparse_sizes, is_sorted, trust_data):
            assert rowptr.dtype == col.dtype == torch.int64 and is_sorted and trust_data
            parts = value.numpy(), col.numpy(), rowptr.numpy()
            self.matrix = scipy.sparse.csr_array(parts, shape=sparse_sizes)

        def __matmul__(self, x):
            return torch.from_numpy(self.matrix @ x.numpy())

    stand_in = types.ModuleType("torch_sparse")
    stand_in.SparseTensor = SparseTensor
    stand_in.__spec__ = types.SimpleNamespace(name="torch_sparse")
    monkeypatch.setitem(sys.modules, "torch_sparse", stand_in)
    matrix, dense = random_csr(10, 9, 7, 4)
    x = torch.randn(7, 3, requires_grad=True)
    with ops.use_backend("torch_sparse"):
        y = ops.csr_spmm(*matrix, x)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), dense @ x.detach().double().numpy(), atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), dense.T @ np.ones((9, 3)), atol=1e-5)
