"""csr_symmetrise against the dense formula."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.ops import csr_symmetrise, csr_transpose
from spectral_graph.ops.library import FALLBACKS


def dense_of(indptr, indices, values, n):
    dense = np.zeros((n, n))
    np.add.at(dense, (np.repeat(np.arange(n), np.diff(indptr)), indices), values)
    return dense


@pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 30), per_row=st.integers(0, 8), ordered=st.booleans())
def test_symmetrise_is_the_dense_formula(native, seed, n, per_row, ordered):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, per_row + 1, n)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, max(n, 1), indptr[-1]).astype(np.int32)
    if ordered:
        for i in range(n):
            indices[indptr[i] : indptr[i + 1]].sort()
    values = rng.standard_normal(indptr[-1]).astype(np.float32)
    op = torch.ops.spectral_graph.csr_symmetrise.default if native else FALLBACKS["csr_symmetrise"]
    arguments = torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values)
    a_indptr, a_indices, a_values, degree = op(*arguments, n)
    assert (a_indptr.dtype, a_indices.dtype) == (torch.int64, torch.int32)
    assert (a_values.dtype, degree.dtype) == (torch.float32, torch.float32)

    b = dense_of(indptr, indices, values, n)
    stored = dense_of(indptr, indices, np.ones_like(values), n) > 0
    stored |= stored.T
    rows, columns = np.nonzero(stored)
    assert a_indices.tolist() == columns.tolist()
    assert np.repeat(np.arange(n), a_indptr.diff().numpy()).tolist() == rows.tolist()
    a = ((b + b.T) / 2)[stored]
    np.testing.assert_allclose(a_values.numpy(), a, rtol=1e-6, atol=1e-6)
    sums = dense_of(a_indptr.numpy(), a_indices.numpy(), a_values.double().numpy(), n).sum(1)
    np.testing.assert_allclose(degree.numpy(), sums, rtol=1e-6, atol=1e-6)
    # symmetric to the last bit: the transpose is the same matrix
    t_indptr, t_indices, t_values = csr_transpose(a_indptr, a_indices, a_values, n)
    assert torch.equal(t_indptr, a_indptr) and torch.equal(t_indices, a_indices) and torch.equal(t_values, a_values)


def test_duplicates_self_loops_and_cancelled_entries():
    indptr = torch.tensor([0, 3, 4, 4])
    indices = torch.tensor([1, 1, 0, 0], dtype=torch.int32)
    values = torch.tensor([1.0, 2.0, 5.0, -3.0])
    a_indptr, a_indices, a_values, degree = csr_symmetrise(indptr, indices, values, 3)
    assert a_indptr.tolist() == [0, 2, 3, 3]
    assert a_indices.tolist() == [0, 1, 0]
    assert a_values.tolist() == [5.0, 0.0, 0.0]
    assert degree.tolist() == [5.0, 0.0, 0.0]


def test_the_degree_is_accumulated_in_float64():
    n = 20_001
    indptr = torch.cat([torch.tensor([0]), torch.full((n,), n - 1, dtype=torch.int64)])
    indices = torch.arange(1, n, dtype=torch.int32)
    values = torch.full((n - 1,), 0.1)
    degree = csr_symmetrise(indptr, indices, values, n)[3]
    assert degree[0].item() == np.float32((n - 1) * np.float64(np.float32(0.05)))


@pytest.mark.parametrize("rows", ["distinct", "repeated", "unsorted"])
def test_many_rows_of_uneven_length_are_scipys_sum_whatever_the_threads(rows):
    rng = np.random.default_rng(7)
    n = 2001
    counts = rng.integers(0, 90, n) * (rng.random(n) > 0.3)
    counts[5] = n
    indptr = np.concatenate([[0], np.cumsum(counts)])
    parts = [rng.choice(n, k, replace=rows != "distinct") for k in counts]
    indices = np.concatenate(parts if rows == "unsorted" else [np.sort(part) for part in parts]).astype(np.int32)
    values = rng.random(len(indices), np.float32)
    b = scipy.sparse.csr_matrix((values.astype(np.float64), indices, indptr), (n, n), copy=True)
    b.sum_duplicates()
    expected = (b + b.T) / 2
    expected.sort_indices()
    arguments = torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values)
    require_scipys_sum(made_with_threads(*arguments, n), expected)


def mirrored(n, seed):
    """Return a directed graph that has (j, i) wherever it has (i, j), with other values, of more than 2^17 entries."""
    rng = np.random.default_rng(seed)
    pattern = scipy.sparse.random(n, n, 100 / n, format="csr", random_state=rng)
    pattern = (pattern + pattern.T + scipy.sparse.diags((rng.random(n) > 0.5).astype(float))).tocsr()
    pattern.eliminate_zeros()
    pattern.sort_indices()
    pattern.data = rng.standard_normal(pattern.nnz)
    return pattern


def test_a_symmetric_pattern_with_other_values_on_either_side():
    b = mirrored(3000, 3).astype(np.float32)
    assert b.nnz > 3 << 16  # counted in several parts
    made = made_with_threads(*of_scipy(b), b.shape[0])
    expected = (b.astype(np.float64) + b.T.astype(np.float64)) / 2
    require_scipys_sum(made, expected, magnitude=abs(b).sum(axis=1))
    assert torch.equal(made[1], torch.from_numpy(b.indices))


@pytest.mark.parametrize("broken", ["first", "last", "cycle"])
def test_rows_as_long_as_columns_are_not_taken_for_a_symmetric_pattern(broken):
    n = 3000
    b = mirrored(n, 4)
    if broken == "cycle":  # i to i + 1 to ... to i + 70: as many out as in, and nobody back
        steps = (np.arange(n)[:, None] + np.arange(1, 71)) % n
        b = scipy.sparse.csr_matrix((np.ones(steps.size), steps.ravel(), np.arange(n + 1) * 70), (n, n))
    else:  # three nodes of an island in a ring
        ring = np.array([0, 1, 2]) if broken == "first" else np.array([n - 3, n - 2, n - 1])
        b = b.tolil()
        b[ring, :] = 0
        b[:, ring] = 0
        b[ring, ring[[1, 2, 0]]] = 1
        b = b.tocsr()
    b = b.astype(np.float32)
    b.sort_indices()
    assert np.array_equal(np.diff(b.indptr), np.bincount(b.indices, minlength=n))
    expected = (b.astype(np.float64) + b.T.astype(np.float64)) / 2
    require_scipys_sum(made_with_threads(*of_scipy(b), n), expected, magnitude=abs(b).sum(axis=1))


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_are_long_on_one_side_only(seed):
    # rows of some hundred entries beside columns of a few, and the reverse; many places have both directions
    n, rng = 700, np.random.default_rng(seed)
    dense = rng.random((n, n)) < 0.01
    long = rng.choice(n, 40, replace=False)
    dense[long[:20]] |= rng.random((20, n)) < rng.random((20, 1))
    dense[:, long[20:]] |= rng.random((n, 20)) < rng.random(20)
    dense[long[:3]], dense[:, long[:3]] = True, False  # no other side at all, but for these three rows
    dense[long[20:22]], dense[0], dense[n - 1] = False, True, False
    b = scipy.sparse.csr_matrix(dense * rng.standard_normal((n, n)).astype(np.float32))
    expected = (b.astype(np.float64) + b.T.astype(np.float64)) / 2
    require_scipys_sum(made_with_threads(*of_scipy(b), n), expected, magnitude=abs(b).sum(axis=1))


def of_scipy(b):
    return torch.from_numpy(b.indptr.astype(np.int64)), torch.from_numpy(b.indices), torch.from_numpy(b.data)


def made_with_threads(*arguments):
    """Return what csr_symmetrise makes, the same with any number of threads."""
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made.append(csr_symmetrise(*arguments))
    finally:
        torch.set_num_threads(threads)
    for results in zip(*made, strict=True):
        assert all(torch.equal(results[0], other) for other in results[1:])
    return made[0]


def require_scipys_sum(made, expected, magnitude=None):
    expected.sort_indices()
    indptr, indices, values, degree = made
    assert np.array_equal(indptr, expected.indptr) and np.array_equal(indices, expected.indices)
    np.testing.assert_allclose(values.numpy(), expected.data, rtol=1e-6, atol=1e-6)
    scale = 1 if magnitude is None else float(magnitude.max())
    sums = np.asarray(expected.sum(axis=1)).ravel()
    np.testing.assert_allclose(degree.numpy(), sums, rtol=1e-5, atol=1e-6 * scale)
