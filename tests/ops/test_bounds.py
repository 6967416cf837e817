"""topc_affinity where bounds from a few coordinates spare products: 4096 rows of 256 channels, or more.

The bounds must not change a bit of the result, so it is compared with brute force on exactly representable products,
and with the same vectors in 255 channels, which are multiplied as they are: a channel of zeros adds nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from topc_reference import assert_same, ptr

from spectral_graph.ops import topc_affinity

SIZES = (1713, 1, 1250, 1136)
"""Of the images: 4100 nodes."""
NODES = sum(SIZES)


def like_features(rng: np.random.Generator, nodes: int, depth: int, rank: int = 12, noise: float = 0.1) -> torch.Tensor:
    """Rows about the same nine points near `rank` directions, (nodes, depth) float32, of unit length."""
    same = np.random.default_rng(0)
    centres, directions = same.standard_normal((9, rank)), same.standard_normal((rank, depth))
    near = centres[rng.integers(0, 9, nodes)] + 0.4 * rng.standard_normal((nodes, rank))
    rows = near @ directions + noise * rng.standard_normal((nodes, depth))
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def with_and_without(query: torch.Tensor, key: torch.Tensor, images: torch.Tensor, *options, symmetric: bool):
    """The result of 255 channels, and that of the same with one of zeros behind them."""
    assert query.shape[1] == 255
    wide = [torch.nn.functional.pad(x, (0, 1)) for x in (query, key)]
    return [topc_affinity(a, b, images, *options, symmetric=symmetric) for a, b in ((query, key), wide)]


def best_of_integers(query, key, images, c_intra, c_inter, threshold):
    """The graph by sorting all products, which are integers: the larger one, then the lower column, is better."""
    products = query.double().numpy() @ key.double().numpy().T
    columns = np.arange(len(key))
    image = np.repeat(np.arange(len(images) - 1), images.diff().numpy())
    order = products.astype(np.int64) * len(key) - columns
    kept = np.zeros(products.shape, dtype=bool)
    own = image[:, None] == image
    for count, inside in ((c_intra, own), (c_inter, ~own)):
        wanted = inside & (products > 0) & (products >= threshold) & (columns != columns[:, None])
        here = np.where(wanted, order, np.iinfo(np.int64).min)
        if count > 0:
            kept |= wanted & (here >= np.partition(here, -count, axis=1)[:, -count, None])
    indptr = np.concatenate([[0], kept.sum(1).cumsum()])
    return [
        torch.from_numpy(part) for part in (indptr, kept.nonzero()[1].astype(np.int32), products[kept].astype("f4"))
    ]


@settings(deadline=None, max_examples=6)
@given(
    seed=st.integers(0, 2**31),
    depth=st.integers(256, 300),
    rank=st.integers(1, 60),
    c_intra=st.integers(0, 9),
    c_inter=st.integers(0, 20),
    threshold=st.sampled_from([0.0, 40.0, 1e30]),
    symmetric=st.booleans(),
)
def test_small_integers_of_low_rank_match_brute_force(seed, depth, rank, c_intra, c_inter, threshold, symmetric):
    rng = np.random.default_rng(seed)

    def integers():
        few = rng.integers(-2, 3, (NODES, rank))
        return torch.from_numpy((few @ rng.integers(-1, 2, (rank, depth))).astype(np.float32))

    query = integers()
    key = query if symmetric else integers()
    assert float(query.double().norm(dim=1).max() * key.double().norm(dim=1).max()) < 2**24
    graph = topc_affinity(query, key, ptr(*SIZES), c_intra, c_inter, threshold, symmetric=symmetric)
    assert_same(graph, best_of_integers(query, key, ptr(*SIZES), c_intra, c_inter, threshold))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("c_intra", "c_inter", "threshold"), [(5, 15, 0.0), (0, 40, 0.3), (7, 0, 0.0), (300, 300, 0.0)]
)
def test_features_give_the_same_bits(symmetric, c_intra, c_inter, threshold):
    rng = np.random.default_rng(1)
    sizes = (1500, 1313, 7, 1680)
    query = like_features(rng, sum(sizes), 255)
    key = query if symmetric else like_features(rng, sum(sizes), 255)
    results = with_and_without(query, key, ptr(*sizes), c_intra, c_inter, threshold, symmetric=symmetric)
    assert len(results[0][1]) > 1000
    assert_same(*results)


@pytest.mark.parametrize("ratio", [3.0, 300.0, 3e7])
def test_queries_and_keys_that_vary_along_different_directions(ratio):
    rng = np.random.default_rng(5)
    directions = np.linalg.qr(rng.standard_normal((255, 20)))[0].T
    factors = ratio ** np.linspace(-0.5, 0.5, 20)

    def rows(factors):
        few = (
            rng.standard_normal((9, 20))[rng.integers(0, 9, NODES)] + 0.3 * rng.standard_normal((NODES, 20))
        ) * factors
        few = few @ directions + 1e-3 * rng.standard_normal((NODES, 255))
        return torch.from_numpy((few / np.linalg.norm(few, axis=1, keepdims=True)).astype(np.float32))

    query, key = rows(factors), rows(1 / factors)
    for counts in ((5, 15), (0, 200)):
        assert_same(*with_and_without(query, key, ptr(*SIZES), *counts, 0.0, symmetric=False))


@pytest.mark.parametrize("apart", [1e-7, 1e-6, 1e-5, 1e-3])
@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_that_differ_by_rounding_only_keep_their_order(apart, symmetric):
    # All products are 1 up to `apart`: a bound that forgot what rounding adds would drop some of the best.
    rng = np.random.default_rng(2)
    one = rng.standard_normal(255)
    rows = one + apart * np.linalg.norm(one) * rng.standard_normal((NODES, 255))
    query = torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    key = query if symmetric else query.flip(0).contiguous()
    assert_same(*with_and_without(query, key, ptr(*SIZES), 5, 15, 0.0, symmetric=symmetric))


@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_of_any_length(symmetric):
    # Lengths from 1e-30 to 1e18, zeros, equal rows, NaN and infinity among them.
    rng = np.random.default_rng(3)
    query = like_features(rng, NODES, 255)
    query *= torch.from_numpy(10 ** rng.uniform(-8, 8, (NODES, 1))).float()
    query[rng.choice(NODES, 30, replace=False)] *= 1e-25
    query[rng.choice(NODES, 30, replace=False)] *= 1e10
    query[::41] = query[0]
    query[::37] = 0
    query[5, 7] = torch.nan
    query[6, 100] = torch.inf
    query[7, 3], query[7, 4] = torch.inf, -torch.inf
    query[8] = -torch.inf
    key = query if symmetric else query.flip(0).contiguous()
    for counts in ((5, 15), (0, 1), (300, 600)):
        results = with_and_without(query, key, ptr(*SIZES), *counts, 0.0, symmetric=symmetric)
        assert torch.isinf(results[0][2]).any()
        assert_same(*results)


def test_rows_in_which_nothing_can_be_sampled():
    for value in (0.0, torch.nan, 1e30, 1e-30):
        rows = torch.full((NODES, 255), value)
        assert_same(*with_and_without(rows, rows, ptr(*SIZES), 5, 15, 0.0, symmetric=True))


@pytest.mark.parametrize("symmetric", [False, True])
def test_one_thread_and_three_give_the_same_bits(symmetric):
    rng = np.random.default_rng(4)
    query = like_features(rng, 5000, 384)
    key = query if symmetric else like_features(rng, 5000, 384)
    images = ptr(*[500] * 10)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            results.append(topc_affinity(query, key, images, 5, 15, symmetric=symmetric))
    finally:
        torch.set_num_threads(threads)
    assert_same(*results)
