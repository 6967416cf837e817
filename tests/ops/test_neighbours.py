"""cell_topc, cosine_topc and unit_project against NumPy, compiled and in pure torch, and what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.errors import GraphError
from spectral_graph.ops import cell_topc, cosine_topc, unit_project
from spectral_graph.ops.library import FALLBACKS


def both(op, *arguments):
    """The compiled and the pure-torch result."""
    return op(*arguments), FALLBACKS[op.__name__](*arguments)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_unit_project(data):
    n, d, k = (data.draw(st.integers(0, 40)), data.draw(st.integers(1, 40)), data.draw(st.integers(0, 20)))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = generator.standard_normal((n, d)).astype(data.draw(st.sampled_from([np.float16, np.float32])))
    mean, basis = generator.standard_normal(d).astype(np.float32), generator.standard_normal((d, k)).astype(np.float32)
    if n > 3:
        rows[0] = mean = rows[0].astype(np.float32)
        rows[2, d // 2] = np.inf
        rows[3, 0] = np.nan
    centred = rows.astype(np.float64) - mean
    norm = np.linalg.norm(centred, axis=1)
    whole = np.isfinite(norm) & (norm > 0)
    expected = centred[whole] / norm[whole, None]
    for unit, inverse, projected in both(unit_project, *map(torch.from_numpy, (rows, np.asarray(mean), basis))):
        assert np.abs(unit.numpy()[whole] - expected).max(initial=0) < 1e-6
        assert np.abs(inverse.numpy()[whole] * norm[whole] - 1).max(initial=0) < 1e-6
        assert np.abs(projected.numpy()[whole] - expected @ basis).max(initial=0) < 1e-4
        if n > 3:
            assert inverse[0] == 0 and not unit[0].any() and inverse[2:4].isnan().all()


def test_rows_of_nan_have_no_coordinates():
    for _, _, projected in both(unit_project, torch.full((13, 5), torch.nan), torch.zeros(5), torch.ones(5, 18)):
        assert projected.isnan().all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cell_topc(data):
    n, m, d = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 90)), data.draw(st.integers(1, 20))
    cells, p, c = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 4)), data.draw(st.integers(0, 9))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    query = generator.integers(-2, 3, (n, d)).astype(np.float32)  # exact products, many ties
    keys = generator.integers(-2, 3, (m, d)).astype(data.draw(st.sampled_from([np.float16, np.float32])))
    owner, image = generator.integers(-1, 3, n).astype(np.int32), generator.integers(0, 3, m).astype(np.int32)
    ptr = np.sort(generator.integers(0, m + 1, cells + 1))
    probes = np.full((n, p), -1, np.int32)
    for row in probes:
        chosen = generator.permutation(cells)[: generator.integers(0, p + 1)]
        row[: len(chosen)] = chosen
    columns, values = np.full((n, c), -1), np.zeros((n, c))
    for i in range(n):
        at = [j for cell in probes[i] if cell >= 0 for j in range(ptr[cell], ptr[cell + 1]) if image[j] != owner[i]]
        best = sorted((-float(query[i] @ keys[j].astype(np.float32)), j) for j in at)[:c]
        for place, (value, j) in enumerate(best):
            columns[i, place], values[i, place] = j, -value
    for found, products in both(cell_topc, *map(torch.from_numpy, (query, owner, keys, image, ptr, probes)), c):
        assert np.array_equal(found, columns) and np.array_equal(products, values)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cosine_topc(data):
    n, m, d = data.draw(st.integers(0, 20)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70))
    k, c = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 6))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = generator.integers(-2, 3, (m, d)).astype(data.draw(st.sampled_from([np.float16, np.float32])))
    query, mean = generator.integers(-2, 3, (n, d)).astype(np.float32), generator.integers(-1, 2, d).astype(np.float32)
    scale = 2.0 ** generator.integers(-2, 2, m).astype(np.float32)
    name = generator.permutation(m).astype(np.int32)
    places = np.full((n, k), -1, np.int32)
    for row in places:
        chosen = generator.permutation(m)[: generator.integers(0, k + 1)]
        row[: len(chosen)] = chosen
    columns, values = np.full((n, c), -1), np.zeros((n, c))
    for i in range(n):
        products = [(float(query[i] @ ((rows[j] - mean) * scale[j])), name[j]) for j in places[i] if j >= 0]
        best = sorted((-value, node) for value, node in products if value > 0 and value >= 1)[:c]
        for place, (value, node) in enumerate(best):
            columns[i, place], values[i, place] = node, -value
    given_ = map(torch.from_numpy, (query, rows, mean, scale, name, places))
    for found, cosines in both(cosine_topc, *given_, c, 1.0):
        assert np.array_equal(found, columns) and np.array_equal(cosines, values)


def test_products_do_not_depend_on_threads_or_on_how_queries_are_split():
    generator = torch.Generator().manual_seed(0)
    query, keys = torch.randn(1500, 33, generator=generator), torch.randn(900, 33, generator=generator)
    image, ptr = torch.zeros(900, dtype=torch.int32), torch.arange(0, 901, 30)
    owner, probes = torch.ones(1500, dtype=torch.int32), torch.randint(0, 30, (1500, 1), generator=generator).int()
    whole = cell_topc(query, owner, keys, image, ptr, probes, 5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        parts = [
            cell_topc(query[i : i + 7], owner[i : i + 7], keys, image, ptr, probes[i : i + 7], 5)
            for i in range(0, 1500, 7)
        ]
    finally:
        torch.set_num_threads(threads)
    for which in (0, 1):
        assert torch.equal(whole[which], torch.cat([part[which] for part in parts]))


def test_cosines_are_the_same_in_both_directions():
    rows, mean = torch.randn(60, 100).half(), torch.randn(100)
    unit, inverse, _ = unit_project(rows, mean, torch.zeros(100, 0))
    everything = torch.arange(60).int().repeat(60, 1)
    columns, values = cosine_topc(unit, rows, mean, inverse, torch.arange(60).int(), everything, 60)
    dense = torch.zeros(60, 60)
    for i in range(60):
        dense[i, columns[i][columns[i] >= 0].long()] = values[i][columns[i] >= 0]
    assert torch.equal(dense, dense.T)


ONE = torch.ones(2, 3)
INTS = torch.zeros(2, dtype=torch.int32)
PROBES = torch.zeros(2, 1, dtype=torch.int32)
PTR = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("op", "arguments", "text"),
    [
        (unit_project, (ONE.double(), ONE[0], ONE.T), "rows must be float16 or float32, got float64"),
        (unit_project, (ONE, ONE[0, :2], ONE.T), "mean must have as many elements as rows has columns, 3, got 2"),
        (unit_project, (ONE, ONE[0], ONE), "basis must have as many rows as rows has columns, 3, got 2"),
        (cell_topc, (ONE, INTS, ONE[:, :2], INTS, PTR, PROBES, 1), "keys must have as many columns as query, 3, got 2"),
        (cell_topc, (ONE, INTS[:1], ONE, INTS, PTR, PROBES, 1), "an element for every query, 2, got 1"),
        (cell_topc, (ONE, INTS, ONE, INTS[:1], PTR, PROBES, 1), "an element for every key, 2, got 1"),
        (cell_topc, (ONE, INTS, ONE, INTS, PTR + 1, PROBES, 1), r"cell_ptr must lie in \[0, 2\], got 1 to 3"),
        (cell_topc, (ONE, INTS, ONE, INTS, torch.tensor([0, 2, 1]), PROBES, 1), r"cell_ptr\[1\] = 2 and cell_ptr\[2\]"),
        (cell_topc, (ONE, INTS, ONE, INTS, PTR, PROBES + 1, 1), "probes must be below the number of cells, 1, got 1"),
        (cell_topc, (ONE, INTS, ONE, INTS, PTR, PROBES[:1], 1), "a row for every query, 2, got 1"),
        (cell_topc, (ONE, INTS, ONE, INTS, PTR, PROBES, -1), "c must be at least 0, got -1"),
        (cosine_topc, (ONE, ONE, ONE[0], ONE[:, 0], INTS, PROBES + 2, 1), "below the number of rows, 2, got 2"),
        (cosine_topc, (ONE, ONE, ONE[0], ONE[:1, 0], INTS, PROBES, 1), "inverse_norm must have an element for every"),
        (cosine_topc, (ONE, ONE, ONE[0], ONE[:, 0], INTS[:1], PROBES, 1), "node must have an element for every row"),
        (cosine_topc, (ONE, ONE, ONE[0], ONE[:, 0], INTS, PROBES, 1, -1.0), "threshold must be a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_alike(op, arguments, text):
    with pytest.raises(GraphError, match=text):
        op(*arguments)
    with pytest.raises(GraphError, match=text):
        FALLBACKS[op.__name__](*arguments, *((0.0,) if op is cosine_topc and len(arguments) == 7 else ()))
