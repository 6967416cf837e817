"""topc_affinity against brute force: every product, sorted by falling value and then rising column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from topc_reference import as_rows, assert_same, brute_force, ptr

from spectral_graph.ops import topc_affinity
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(native: bool):
    return torch.ops.spectral_graph.topc_affinity.default if native else FALLBACKS["topc_affinity"]


def unit(n: int, d: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(x, dim=1)


@NATIVE
@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    depth=st.integers(0, 20),
    c_intra=st.integers(0, 50),
    c_inter=st.integers(0, 12),
    threshold=st.sampled_from([0.0, 1.0, 2.5, 1e30]),
    spread=st.integers(1, 4),
    symmetric=st.booleans(),
)
def test_small_integers_match_brute_force(native, seed, sizes, depth, c_intra, c_inter, threshold, spread, symmetric):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    query = torch.from_numpy(rng.integers(-spread, spread + 1, (n, depth)).astype(np.float32))
    key = query if symmetric else torch.from_numpy(rng.integers(-spread, spread + 1, (n, depth)).astype(np.float32))
    images = ptr(*sizes)
    graph = operator(native)(query, key, images, c_intra, c_inter, threshold, symmetric)
    assert as_rows(graph) == brute_force(query, key, images, c_intra, c_inter, threshold)


@pytest.mark.parametrize("symmetric", [False, True])
def test_many_tiles_groups_and_panels(symmetric):
    # 700 nodes of 7000 channels: several groups, and 19.6 MB of packed keys, which is more than one panel
    rng = np.random.default_rng(4)
    query = torch.from_numpy(rng.integers(-1, 2, (700, 7000)).astype(np.float32))
    key = query if symmetric else torch.from_numpy(rng.integers(-1, 2, (700, 7000)).astype(np.float32))
    images = ptr(333, 1, 200, 166)
    graph = topc_affinity(query, key, images, 7, 5, symmetric=symmetric)
    assert as_rows(graph) == brute_force(query, key, images, 7, 5, 0.0)


@NATIVE
@pytest.mark.parametrize(("c_intra", "c_inter"), [(6, 0), (0, 6), (6, 4)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_random_vectors_have_the_best_values(native, symmetric, c_intra, c_inter):
    query = unit(450, 48)
    key = query if symmetric else unit(450, 48, 1)
    images = ptr(150, 17, 133, 150)
    indptr, indices, values = operator(native)(query, key, images, c_intra, c_inter, 0.1, symmetric)
    products = (query.double() @ key.double().T).numpy()
    image = np.repeat(np.arange(4), images.diff().numpy())
    for i in range(450):
        row = slice(int(indptr[i]), int(indptr[i + 1]))
        columns = indices[row].numpy()
        assert (np.diff(columns) > 0).all() and i not in columns
        np.testing.assert_allclose(values[row].numpy(), products[i, columns], atol=1e-6)
        for c, inside in ((c_intra, image == image[i]), (c_inter, image != image[i])):
            inside = inside & (np.arange(450) != i)
            best = np.sort(products[i, inside & (products[i] >= 0.1)])[::-1][:c]
            taken = np.sort(products[i, columns[inside[columns]]])[::-1]
            np.testing.assert_allclose(taken, best, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=6),
    depth=st.integers(1, 40),
    c_intra=st.integers(0, 9),
    c_inter=st.integers(0, 9),
)
def test_both_directions_give_the_same_bits(seed, sizes, depth, c_intra, c_inter):
    x = unit(sum(sizes), depth, seed)
    images = ptr(*sizes)
    both = [topc_affinity(x, x, images, c_intra, c_inter, 0.0, symmetric=symmetric) for symmetric in (True, False)]
    assert_same(*both)


def test_a_value_is_the_same_in_both_directions():
    x = unit(300, 100)
    indptr, indices, values = topc_affinity(x, x, ptr(100, 200), 99, 200, 0.0)
    dense = torch.zeros(300, 300)
    dense[torch.repeat_interleave(torch.arange(300), indptr.diff()), indices.long()] = values
    both = (dense > 0) & (dense.T > 0)
    assert both.sum() > 30_000
    assert torch.equal(dense[both], dense.T[both])


def test_the_images_of_a_batch_do_not_depend_on_each_other():
    x = unit(240, 33)
    whole = topc_affinity(x, x, ptr(80, 160), 5, 0, 0.0, symmetric=True)
    alone = topc_affinity(x[80:], x[80:], ptr(160), 5, 0, 0.0)
    assert torch.equal(whole[1][whole[0][80] :] - 80, alone[1])
    assert torch.equal(whole[2][whole[0][80] :], alone[2])


@NATIVE
@pytest.mark.parametrize("symmetric", [False, True])
def test_identical_vectors_take_the_lowest_columns(native, symmetric):
    x = torch.ones(100, 4)
    rows = as_rows(operator(native)(x, x, ptr(60, 40), 3, 2, 0.0, symmetric))
    for i, row in enumerate(rows):
        first, other = (0, 60) if i < 60 else (60, 0)
        intra = [j for j in range(first, first + 4) if j != i][:3]
        assert row == [(j, 4.0) for j in sorted([*intra, other, other + 1])]


@NATIVE
@pytest.mark.parametrize("symmetric", [False, True])
def test_nan_zero_and_negative_vectors_have_no_edges(native, symmetric):
    x = torch.ones(40, 3)
    x[5], x[7], x[9], x[11, 1] = 0.0, torch.nan, -1.0, torch.nan
    indptr, indices, _ = operator(native)(x, x, ptr(20, 20), 30, 30, 0.0, symmetric)
    for i in (5, 7, 9, 11):
        assert indptr[i + 1] == indptr[i]
        assert i not in indices.tolist()
    assert set(indptr.diff()[[j for j in range(40) if j not in (5, 7, 9, 11)]].tolist()) == {35}


@NATIVE
@pytest.mark.parametrize("symmetric", [False, True])
def test_infinite_products_are_the_best(native, symmetric):
    x = torch.full((10, 2), 1e19)
    x[3] = 1e25
    rows = as_rows(operator(native)(x, x, ptr(10), 2, 0, 0.0, symmetric))
    assert rows[0][1][0] == 3 and rows[0][1][1] == torch.inf


@NATIVE
def test_the_threshold_is_met_exactly(native):
    x = torch.tensor([[1.0], [0.7], [np.nextafter(np.float32(0.7), np.float32(0))]])
    rows = as_rows(operator(native)(x, x, ptr(3), 5, 0, 0.7, True))
    assert [[j for j, _ in row] for row in rows] == [[1], [0], []]


@NATIVE
def test_empty_inputs(native):
    op = operator(native)
    for images in (ptr(), ptr(0), ptr(0, 0)):
        indptr, indices, values = op(torch.empty(0, 5), torch.empty(0, 5), images, 3, 3, 0.0, True)
        assert indptr.tolist() == [0] and len(indices) == len(values) == 0
    one = op(torch.ones(1, 5), torch.ones(1, 5), ptr(1), 3, 3, 0.0, False)
    assert one[0].tolist() == [0, 0]
    nothing = op(torch.ones(9, 5), torch.ones(9, 5), ptr(4, 5), 0, 0, 0.0, False)
    assert nothing[0].tolist() == [0] * 10


@pytest.mark.parametrize("c", [70, 150])
@pytest.mark.parametrize("symmetric", [False, True])
def test_long_lists(c, symmetric):
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.integers(-3, 4, (400, 12)).astype(np.float32))
    images = ptr(180, 220)
    rows = as_rows(topc_affinity(x, x, images, c, c, 0.0, symmetric=symmetric))
    assert rows == brute_force(x, x, images, c, c, 0.0)


def test_non_contiguous_arguments_are_copied():
    x = unit(64, 20)
    images = ptr(30, 34)
    turned = x.T.contiguous().T
    assert not turned.is_contiguous()
    assert_same(topc_affinity(turned, turned, images, 3, 3), topc_affinity(x, x, images, 3, 3))
