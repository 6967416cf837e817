import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from spectral_graph.errors import FeatureError, GraphError
from spectral_graph.graph.affinity import build_affinity
from spectral_graph.graph.selection import Selection


def dense_reference(query, key, sizes, c_intra, c_inter, threshold, query_mean=None, key_mean=None):
    """Top-c selection and symmetrisation in float64, written as the definition reads."""

    def unit(rows, mean):
        rows = rows.astype(np.float64) - (0 if mean is None else mean)
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)

    s = unit(query, query_mean) @ unit(key, key_mean).T
    image = np.repeat(np.arange(len(sizes)), sizes)
    n = len(s)
    b = np.zeros((n, n))
    for i in range(n):
        for count, group in ((c_intra, image == image[i]), (c_inter, image != image[i])):
            candidates = [j for j in range(n) if group[j] and j != i and s[i, j] >= threshold and s[i, j] > 0]
            for j in sorted(candidates, key=lambda j: (-s[i, j], j))[:count]:
                b[i, j] = s[i, j]
    return (b + b.T) / 2


def dense(graph):
    n = len(graph.indptr) - 1
    return csr_matrix((graph.values, graph.indices, graph.indptr), shape=(n, n)).toarray()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(3, 9), min_size=2, max_size=4),
    st.integers(0, 2),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_equals_the_dense_definition(sizes, c_intra, c_inter, threshold, same, centre, seed):
    generator = np.random.default_rng(seed)
    n = sum(sizes)
    query = generator.standard_normal((n, 12)).astype(np.float32)
    key = query if same else generator.standard_normal((n, 12)).astype(np.float32)
    means = [rows.mean(axis=0) if centre else None for rows in (query, key)]
    graph = build_affinity(
        torch.from_numpy(query),
        None if same else torch.from_numpy(key),
        torch.tensor(np.r_[0, np.cumsum(sizes)]),
        Selection(c_intra, c_inter, threshold),
        *(None if mean is None else torch.from_numpy(mean) for mean in means),
    )
    expected = dense_reference(query, key, sizes, c_intra, c_inter, threshold, *means)
    np.testing.assert_allclose(dense(graph), expected, atol=2e-6)
    np.testing.assert_allclose(graph.degree, expected.sum(axis=1), atol=1e-5)


def test_zero_vectors_become_isolated_nodes():
    rows = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    rows[3] = 0
    graph = build_affinity(rows, None, torch.tensor([0, 6, 12]), Selection(2, 2, 0.0))
    assert graph.indptr[4] == graph.indptr[3]
    assert 3 not in graph.indices
    assert graph.degree[3] == 0


def test_single_image_has_no_inter_neighbours():
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    graph = build_affinity(rows, None, torch.tensor([0, 8]), Selection(2, 5, 0.0))
    expected = dense_reference(rows.numpy(), rows.numpy(), [8], 2, 0, 0.0)
    np.testing.assert_allclose(dense(graph), expected, atol=2e-6)


def test_facts_count_short_rows_and_hubs():
    rows = torch.eye(6)[:, :4].contiguous()  # two zero vectors, the others orthogonal: no edges at all
    graph = build_affinity(rows, None, torch.tensor([0, 3, 6]), Selection(1, 1, 0.1))
    assert graph.short_rows == 6
    assert graph.in_degree.tolist() == [0] * 6
    hub = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6], [0.7, -0.7]])
    graph = build_affinity(hub, None, torch.tensor([0, 4]), Selection(1, 0, 0.1))
    chosen = [max((j for j in range(4) if j != i), key=lambda j: float(hub[i] @ hub[j])) for i in range(4)]
    assert graph.in_degree.tolist() == [chosen.count(j) for j in range(4)]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"c_intra": 6}, GraphError, "c_intra is 6, but an image has 6 nodes"),
        ({"c_inter": 7}, GraphError, "c_inter is 7, but the other images"),
        ({"bad": float("nan")}, FeatureError, "query vector of node 2 holds NaN or infinity"),
        ({"bad": float("inf")}, FeatureError, "query vector of node 2 holds NaN or infinity"),
    ],
)
def test_bad_input_is_named(change, error, text):
    rows = torch.ones(12, 3)
    if "bad" in change:
        rows[2, 1] = change["bad"]
    with pytest.raises(error, match=text):
        selection = Selection(change.get("c_intra", 1), change.get("c_inter", 1), 0.1)
        build_affinity(rows, None, torch.tensor([0, 6, 12]), selection)


def test_half_precision_rows_give_the_graph_of_the_same_rows_in_float32():
    rows = torch.randn(40, 16, generator=torch.Generator().manual_seed(5)).half()
    image_ptr, selection = torch.tensor([0, 20, 40]), Selection(3, 4, 0.05)
    halves, floats = (build_affinity(part, None, image_ptr, selection) for part in (rows, rows.float()))
    assert np.array_equal(halves.indices, floats.indices) and np.array_equal(halves.values, floats.values)


def test_sharpened_values_are_powers_before_symmetrisation():
    rows = torch.randn(14, 5, generator=torch.Generator().manual_seed(3))
    image_ptr = torch.tensor([0, 7, 14])
    plain = dense_reference(rows.numpy(), rows.numpy(), [7, 7], 2, 3, 0.1)
    sharp = dense(build_affinity(rows, None, image_ptr, Selection(2, 3, 0.1, sharpen=4)))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    cosine = (unit @ unit.T).numpy()
    chosen = np.divide(2 * plain, cosine, out=np.zeros_like(plain), where=plain > 0)  # 1 or 2 directions
    np.testing.assert_allclose(sharp, chosen / 2 * cosine**4, atol=1e-6)


def test_powers_below_float32_stay_above_zero():
    rows = torch.randn(14, 5, generator=torch.Generator().manual_seed(3))
    plain = build_affinity(rows, None, torch.tensor([0, 7, 14]), Selection(2, 3, 0.0))
    sharp = build_affinity(rows, None, torch.tensor([0, 7, 14]), Selection(2, 3, 0.0, sharpen=64))
    np.testing.assert_array_equal(sharp.indices, plain.indices)
    assert sharp.values.min() > 0
    assert sharp.degree.min() > 0


@pytest.mark.parametrize(("hubs", "left"), [("mutual", 0.25), ("cap", 0.25), ("csls", 0.7), ("sinkhorn", 0.25)])
def test_hubs_lose_weight(hubs, left):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(200, 16, generator=generator) + 0.6
    key = torch.randn(200, 16, generator=generator)
    key[7] = 0.6 + 0.3 * key[7]  # near to what all queries have in common
    image_ptr = torch.arange(0, 201, 20)

    def hub(name):
        graph = build_affinity(query, key, image_ptr, Selection(3, 3, 0.0, hubs=name, hub_cap=2))
        return graph.degree[7], graph.in_degree[7]

    before, after = hub("none"), hub(hubs)
    assert before[1] > 80
    assert after[0] < left * before[0]
    if hubs == "cap":
        assert after[1] == 12
    elif hubs != "sinkhorn":
        assert after[1] < left * before[1]
