"""csr_spmm where single rows are very long."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import GraphError
from spectral_graph.ops import csr_spmm


def matrix_with_long_rows(lengths, columns, seed=0):
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = rng.integers(0, columns, indptr[-1]).astype(np.int32)
    values = rng.standard_normal(len(indices)).astype(np.float32)
    return torch.from_numpy(indptr), torch.from_numpy(indices), torch.from_numpy(values)


LENGTHS = {
    "one row": [50_000],
    "about a block of checked entries": [4095, 4096, 4097, 8192, 8193],
    "long ones at both ends": [9000, 3, 0, 7, 20_000, 0, 12, 5000],
    "just long, and of uneven pieces": [4096, 4097, 5119, 6143, 10_241],
    "long ones in the middle": [2] * 300 + [30_000, 4097] + [0] * 50 + [5] * 300,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [0, 1, 5, 16, 50, 128])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_product_lies_within_the_bound_and_does_not_depend_on_the_threads(lengths, channels, dtype):
    columns = 3000
    indptr, indices, values = matrix_with_long_rows(lengths, columns)
    values = values.double() if dtype == torch.float64 else values
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((columns, channels))).to(dtype)
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made += [csr_spmm(indptr, indices, values, x), csr_spmm(indptr, indices, values, x, check=False)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(made[0], other) for other in made[1:])

    parts = values.double().numpy(), indices.numpy(), indptr.numpy()
    a = scipy.sparse.csr_matrix(parts, (len(lengths), columns))
    dense = x.double().numpy()
    per_step = np.array(lengths) * (2.0**-53 if dtype == torch.float64 else 2.0**-24)
    bound = 2 * (per_step / (1 - per_step))[:, None] * (abs(a) @ abs(dense))  # twice: SciPy's sum has errors as well
    assert (np.abs(made[0].double().numpy() - a @ dense) <= bound).all()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40) | st.integers(4090, 9000), min_size=1, max_size=12),
    channels=st.sampled_from([1, 7, 8, 16, 24, 25, 32, 50, 128]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    data=st.data(),
)
def test_a_row_has_the_same_bits_in_whatever_part_of_the_matrix_it_is_computed(lengths, channels, dtype, data):
    indptr, indices, values = matrix_with_long_rows(lengths, 500)
    values = values.double() if dtype == torch.float64 else values
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((500, channels))).to(dtype)
    whole = csr_spmm(indptr, indices, values, x)
    first = data.draw(st.integers(0, len(lengths) - 1))
    past = data.draw(st.integers(first + 1, len(lengths)))
    own = slice(int(indptr[first]), int(indptr[past]))
    part = csr_spmm(indptr[first : past + 1] - indptr[first], indices[own], values[own], x)
    assert torch.equal(part, whole[first:past])


def test_a_row_of_very_many_entries():
    # more than 256 pieces of 1024
    indptr, indices, values = matrix_with_long_rows([3, 300_000, 2], 3000)
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((3000, 3), np.float32))
    a = scipy.sparse.csr_matrix((values.double().numpy(), indices.numpy(), indptr.numpy()), (3, 3000))
    np.testing.assert_allclose(csr_spmm(indptr, indices, values, x), a @ x.double().numpy(), atol=3e-3)


@pytest.mark.parametrize("place", [0, 4095, 4096, 19_999])
@pytest.mark.parametrize("column", [-1, 3000])
def test_a_bad_index_in_a_long_row_is_named(place, column):
    indptr, indices, values = matrix_with_long_rows([20_000, 3], 3000)
    indices[place] = column
    with pytest.raises(GraphError, match=rf"indices must lie in \[0, 3000\), got indices\[{place}\] = {column}"):
        csr_spmm(indptr, indices, values, torch.ones(3000, 4))


def test_a_decreasing_indptr_around_a_long_row_is_named():
    _, indices, values = matrix_with_long_rows([20_000], 3000)
    for indptr in ([0, 30_000, 20_000], [0, -10_000, 20_000], [0, 19_000, 18_000, 20_000]):
        with pytest.raises(GraphError, match="indptr must not decrease"):
            csr_spmm(torch.tensor(indptr), indices, values, torch.ones(3000, 4))
