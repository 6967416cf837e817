"""Products with an x of one to eight columns: their own kernels, every rest of a row, the ends of the arrays."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.ops import chebyshev_step_, csr_spmm, rayleigh

NARROW = range(1, 9)


def random_csr(seed, n, m, longest):
    """A matrix with unsorted columns, repeated ones and empty rows, and in float64 itself and its magnitude."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, longest + 1, n) * (rng.random(n) > 0.3)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = rng.integers(0, m, indptr[-1]).astype(np.int32)
    values = rng.standard_normal(indptr[-1]).astype(np.float32)
    a = scipy.sparse.csr_matrix((values.astype(np.float64), indices, indptr), (n, m))
    size = scipy.sparse.csr_matrix((np.abs(a.data), indices, indptr), (n, m))
    return tuple(map(torch.from_numpy, (indptr, indices, values))), a, size, counts[:, None]


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 40),
    m=st.integers(1, 40),
    longest=st.integers(0, 25),
    channels=st.sampled_from(NARROW),
    half=st.booleans(),
)
def test_the_product_lies_within_the_bound_of_its_sums(seed, n, m, longest, channels, half):
    matrix, a, size, counts = random_csr(seed, n, m, longest)
    x = normal(seed, m, channels).to(torch.bfloat16 if half else torch.float32)
    dense = x.double().numpy()
    bound = 1.01 * counts * 2.0**-24 * (size @ np.abs(dense)) + 1e-30
    for check in (True, False):
        assert (np.abs(csr_spmm(*matrix, x, check=check).numpy() - a @ dense) <= bound).all()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 300), longest=st.integers(0, 20), channels=st.sampled_from(NARROW))
def test_the_step_and_the_quotient_match_numpy(seed, n, longest, channels):
    matrix, a, _, _ = random_csr(seed, n, n, longest)
    x, own, y, d = (normal(seed + k, n, channels) for k in range(4))
    expected = 0.5 * (a @ x.double().numpy()) - 0.25 * own.double().numpy() + 2 * y.double().numpy()
    chebyshev_step_(*matrix, x, own, y, 0.5, -0.25, 2.0)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-4)
    symmetric = ((a + a.T) / 2).tocsr()
    parts = (symmetric.indptr.astype(np.int64), symmetric.indices, symmetric.data.astype(np.float32))
    inverse = d[:, 0].abs().contiguous()
    s, gradient = rayleigh(*map(torch.from_numpy, parts), inverse, x)
    wide, column = x.double().numpy(), inverse.double().numpy()[:, None]
    walked = column * (symmetric @ wide)
    np.testing.assert_allclose(s.numpy(), (wide * walked).sum(0), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gradient.numpy(), walked + symmetric @ (column * wide), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", NARROW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_and_infinity_reach_no_other_row_or_column(channels, dtype):
    # rows of one to nine entries, so of every rest; none names row 0 of x, which masked entries must not bring in
    counts = torch.arange(1, 10)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    indices = torch.cat([torch.arange(1, int(k) + 1, dtype=torch.int32) for k in counts])
    x = torch.ones(11, channels)
    x[0], x[10] = torch.nan, torch.inf
    x[9, channels - 1], x[8, 0] = torch.nan, -torch.inf
    y = csr_spmm(indptr, indices, torch.ones(len(indices)), x.to(dtype))
    assert bool(y[:7].isfinite().all())
    expected = x.new_tensor([[8.0] * channels, [9.0] * channels])
    expected[:, 0], expected[1, channels - 1] = -torch.inf, torch.nan
    torch.testing.assert_close(y[7:], expected, equal_nan=True)


@pytest.mark.parametrize("channels", NARROW)
def test_threads_and_blocks_do_not_change_a_bit(channels):
    matrix, *_ = random_csr(3, 4000, 4000, 40)
    x, own = normal(1, 4000, channels), normal(2, 4000, channels)
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for check in (True, False):
                y = own.clone()
                chebyshev_step_(*matrix, x, own, y, 0.3, 0.1, -0.9, check=check)
                made.append((csr_spmm(*matrix, x, check=check), csr_spmm(*matrix, x.bfloat16(), check=check), y))
            made[-1] = (*made[-1], *rayleigh(*matrix, own[:, 0].contiguous(), x))
    finally:
        torch.set_num_threads(threads)
    for other in made[1:]:
        assert all(torch.equal(a, b) for a, b in zip(made[0], other, strict=False))
    assert all(torch.equal(a, b) for a, b in zip(made[1], made[3], strict=True))


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 8])
def test_an_x_beyond_the_cache_gives_what_a_small_one_gives(channels):
    # more than 4 MiB of x is prefetched; the same rows lie in a small x, too
    matrix, *_ = random_csr(5, 300, 500, 30)
    x = normal(1, 500, channels)
    far = torch.zeros(600_000, channels)
    far[:500] = x
    assert torch.equal(csr_spmm(*matrix, far), csr_spmm(*matrix, x))
    half = csr_spmm(*matrix, far.bfloat16())
    torch.testing.assert_close(half, csr_spmm(*matrix, x.bfloat16()), rtol=1e-5, atol=1e-4)


def at_the_end_of_a_page(array: np.ndarray) -> np.ndarray:
    """Return a copy behind whose last byte nothing may be read or written."""
    bytes_ = -(-max(1, array.nbytes) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, bytes_ + mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + bytes_), mmap.PAGESIZE, 0) == 0
    placed = whole[bytes_ - array.nbytes : bytes_].view(array.dtype).reshape(array.shape)
    placed[...] = array
    return placed


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("channels", [*NARROW, 9, 16, 17])
@pytest.mark.parametrize("rest", range(4))
def test_nothing_behind_the_arrays_is_touched(channels, rest):
    n, m = 50 + rest, 20
    (indptr, indices, values), a, _, _ = random_csr(rest, n, m, 7)
    indices[-3:] = m - 1  # the last row of x, by the last entries
    a = scipy.sparse.csr_matrix((values.double().numpy(), indices.numpy(), indptr.numpy()), (n, m))
    x, own, y = normal(1, m, channels), normal(2, n, channels), normal(3, n, channels)
    kept = [at_the_end_of_a_page(part.numpy()) for part in (indptr, indices, values, x, own, y)]
    *matrix, x_end, own_end, y_end = map(torch.from_numpy, kept)
    product = a @ x.double().numpy()
    np.testing.assert_allclose(csr_spmm(*matrix, x_end).numpy(), product, atol=1e-4)
    half = at_the_end_of_a_page(x.bfloat16().view(torch.int16).numpy())
    rounded = a @ x.bfloat16().double().numpy()
    np.testing.assert_allclose(csr_spmm(*matrix, torch.from_numpy(half).view(torch.bfloat16)), rounded, atol=1e-4)
    chebyshev_step_(*matrix, x_end, own_end, y_end, 1.0, 0.5, 0.0)
    np.testing.assert_allclose(y_end.numpy(), product + 0.5 * own.double().numpy(), atol=1e-4)
