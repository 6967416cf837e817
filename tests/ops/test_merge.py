"""topc_merge against a brute-force merge, and against one search over everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import GraphError
from spectral_graph.ops import topc_affinity, topc_merge
from spectral_graph.ops.library import FALLBACKS

NATIVE = pytest.mark.parametrize("native", [True, False], ids=["compiled", "torch"])


def operator(native: bool):
    return torch.ops.spectral_graph.topc_merge.default if native else FALLBACKS["topc_merge"]


def random_list(rng, n: int, most: int):
    """Few values and columns, so that ties and duplicates are common; NaN, infinities and zeros of both signs."""
    counts = rng.integers(0, most + 1, n)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, 12, indptr[-1]).astype(np.int32)
    choice = np.array([-np.inf, -2, -1, -0.0, 0.0, 0.5, 0.75, 1, np.inf, np.nan], np.float32)
    return indptr, indices, rng.choice(choice, indptr[-1])


def brute_force(lists, n: int, c: int):
    columns, weights, indptr = [], [], [0]
    for i in range(n):
        best: dict[int, float] = {}
        for starts, indices, values in lists:
            for p in range(starts[i], starts[i + 1]):
                if not np.isnan(values[p]):
                    best[indices[p]] = max(best.get(indices[p], -np.inf), values[p])
        kept = sorted(sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:c])
        columns += [column for column, _ in kept]
        weights += [value for _, value in kept]
        indptr.append(len(columns))
    return indptr, columns, weights


@NATIVE
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 12),
    most=st.integers(0, 15),
    count=st.integers(1, 4),
    c=st.integers(0, 14),
)
def test_it_is_the_brute_force_merge(native, seed, n, most, count, c):
    rng = np.random.default_rng(seed)
    lists = [random_list(rng, n, most) for _ in range(count)]
    parts = [[torch.from_numpy(one[k]) for one in lists] for k in range(3)]
    indptr, indices, values = operator(native)(*parts, c)
    assert (indptr.dtype, indices.dtype, values.dtype) == (torch.int64, torch.int32, torch.float32)
    expected = brute_force(lists, n, c)
    assert (indptr.tolist(), indices.tolist(), values.tolist()) == expected
    turned = operator(native)(*(part[::-1] for part in parts), c)
    assert all(torch.equal(a, b) for a, b in zip((indptr, indices, values), turned, strict=True))


def test_searches_of_parts_merge_into_the_search_of_the_whole():
    """Every node is its own image; the keys are searched in three parts, the other keys being zero vectors."""
    x = torch.nn.functional.normalize(torch.randn(90, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    images = torch.arange(91)
    whole = topc_affinity(x, x, images, 0, 7)
    found = []
    for part in range(3):
        keys = torch.zeros_like(x)
        keys[part * 30 : part * 30 + 30] = x[part * 30 : part * 30 + 30]
        found.append(topc_affinity(x, keys, images, 0, 7))
    merged = topc_merge(*zip(*found, strict=True), 7)
    assert all(torch.equal(a, b) for a, b in zip(merged, whole, strict=True))
    step = topc_merge(*zip(topc_merge(*zip(*found[:2], strict=True), 7), found[2], strict=True), 7)
    assert all(torch.equal(a, b) for a, b in zip(step, whole, strict=True))


def test_a_compiled_graph_merges():
    lists = [random_list(np.random.default_rng(k), 5, 6) for k in range(2)]
    parts = [[torch.from_numpy(one[k]) for one in lists] for k in range(3)]
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        traced = torch.compile(lambda *p: topc_merge(*p, 3), fullgraph=True, backend="aot_eager")(*parts)
    assert all(torch.equal(a, b) for a, b in zip(traced, topc_merge(*parts, 3), strict=True))


ONE = torch.tensor([0, 1, 2]), torch.tensor([1, 0], dtype=torch.int32), torch.ones(2)

MISTAKES = [
    (([], [], [], 1), "indptr must hold at least one tensor, got none"),
    (([ONE[0]], [ONE[1]], [], 1), "indptr, indices and values must hold equally many tensors, got 1, 1 and 0"),
    (([ONE[0]], [ONE[1]], [ONE[2]], -1), "c must be at least 0, got -1"),
    (([ONE[0]], [ONE[1].long()], [ONE[2]], 1), "indices must be int32, got int64"),
    (([ONE[0]], [ONE[1]], [ONE[2].double()], 1), "values must be float32, got float64"),
    (([ONE[0]], [ONE[1]], [ONE[2][:1]], 1), "values must have as many elements as indices, 2, got 1"),
    (([ONE[0]], [-ONE[1]], [ONE[2]], 1), "indices must lie in [0, 2147483647), got indices[0] = -1"),
    (
        ([ONE[0], torch.tensor([0, 2])], [ONE[1]] * 2, [ONE[2]] * 2, 1),
        "all lists must have as many rows as the first, 2, got 1 in list 1",
    ),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes_are_named_by_every_implementation(arguments, text):
    for function in (topc_merge, FALLBACKS["topc_merge"]):
        with pytest.raises(GraphError) as caught:
            function(*arguments)
        assert str(caught.value) == f"spectral_graph::topc_merge: {text}"
