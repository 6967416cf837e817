"""The order of a wavefront of products is a right one, saves what it promises, and changes no bit of a filter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, random_array

import spectral_graph.graph.operator as operator_module
import spectral_graph.io.paging as paging
from spectral_graph.graph.blocks import Block, GraphStore, local_columns
from spectral_graph.graph.operator import BlockOperator
from spectral_graph.graph.wavefront import Extent, plan_wavefront
from spectral_graph.solve.recurrence import apply_filter, step

ROWS = 10


def recurrence_of(degree: int) -> list[tuple[float, float, float]]:
    """Return the factors of the Chebyshev polynomial of [-0.3, 0.2]."""
    return [(4.0, 0.2, 0.0)] + [(8.0, 0.4, -1.0)] * (degree - 1)


def extents_of(reads):
    """Blocks of ten rows that read the given ranges of blocks."""
    return [
        Extent((ROWS * i, ROWS * (i + 1)), (ROWS * first, ROWS * past - 3), 100)
        for i, (first, past) in enumerate(reads)
    ]


@st.composite
def ranges(draw):
    count = draw(st.integers(1, 12))
    found = []
    for block in range(count):
        first = draw(st.integers(max(0, block - 4), min(count - 1, block + 3)))
        found.append((first, draw(st.integers(first + 1, min(count, first + 5)))))
    return found


@given(ranges(), st.integers(1, 9), st.integers(0, 6000))
def test_every_product_reads_what_the_one_before_wrote(reads, products, memory):
    wavefront = plan_wavefront(extents_of(reads), products, 8, memory)
    count = len(reads)
    assert 1 <= wavefront.depth <= products
    assert sorted(wavefront.visits) == [(p, b) for p in range(wavefront.depth) for b in range(count)]
    # Which product's result each block of both arrays holds; before the first, array 0 holds that of product -1.
    holds = [np.full(count, -1), np.full(count, -2)]
    for product, block in wavefront.visits:
        first, past = reads[block]
        source, target = holds[product % 2], holds[1 - product % 2]
        assert (source[first:past] == product - 1).all() and source[block] == product - 1
        assert target[block] == product - 2
        target[block] = product


def test_products_go_together_as_far_as_memory_allows():
    band = extents_of([(max(0, i - 1), min(50, i + 2)) for i in range(50)])
    depths = [plan_wavefront(band, 12, 8, memory).depth for memory in (0, 1000, 2000, 4000, 10**6)]
    assert depths[0] == 1 and depths[-1] == 12 and depths == sorted(depths) and len(set(depths)) > 3
    everywhere = plan_wavefront(extents_of([(0, 50)] * 50), 12, 8, 3000)
    assert everywhere.depth == 1 and not everywhere.local
    alone = plan_wavefront(band, 1, 8, 3000)
    assert alone.depth == 1 and alone.local
    assert plan_wavefront([None, *band[1:]], 12, 8, 10**6).depth == 1
    assert plan_wavefront(band[::-1], 12, 8, 10**6).depth == 1


def test_sweeps_are_of_about_equal_depth():
    band = extents_of([(max(0, i - 1), min(50, i + 2)) for i in range(50)])
    most = max(p for p in range(1, 30) if plan_wavefront(band, p, 8, 3000).depth == p)
    assert most > 2
    assert plan_wavefront(band, most + 1, 8, 3000).depth == -(-(most + 1) // 2)


def banded(path, nodes=600, block=40, reach=60, links=0):
    """A symmetric operator in blocks of rows whose edges reach so far, and as many that lead anywhere."""
    generator = np.random.default_rng(0)
    a = random_array((nodes, nodes), density=0.05, rng=generator, dtype=np.float32).tocoo()
    keep = abs(a.coords[0] - a.coords[1]) <= reach
    rows, columns, values = a.coords[0][keep], a.coords[1][keep], a.data[keep]
    far = generator.integers(0, nodes, (2, links))
    rows, columns, values = np.r_[rows, far[0]], np.r_[columns, far[1]], np.r_[values, np.ones(links, np.float32)]
    a = csr_matrix((values, (rows, columns)), shape=(nodes, nodes))
    a = ((a + a.T) / 20).tocsr()
    store = GraphStore.create(path, {"nodes": nodes, "rounds": 1})
    for start in range(0, nodes, block):
        part = a[start : start + block].sorted_indices()
        ids, places = local_columns(part.indices, nodes)
        rows = np.arange(start, start + part.shape[0])
        stored = Block(rows, part.indptr.astype(np.int64), places, part.data, None, {}, ids)
        store.write(f"merged/symmetric/{start:06d}", stored)
    return store, a.toarray().astype(np.float64)


@pytest.mark.parametrize(("links", "deep"), [(0, True), (300, False)])
def test_a_filter_in_waves_has_the_bits_of_one_step_by_step(tmp_path, monkeypatch, links, deep):
    store, dense = banded(tmp_path, links=links)
    start = np.random.default_rng(1).standard_normal((600, 5)).astype(np.float32)
    results, reads = [], []
    for memory in (0, 40_000, 1 << 30):
        monkeypatch.setattr(operator_module, "SWEEP_BYTES", memory)
        operator = BlockOperator(store, store.names("merged/symmetric"), 600, 1, kept_bytes=0)
        list(operator.blocks())
        count = 0

        def read(name, of=store.read):
            nonlocal count
            count += 1
            return of(name)

        with monkeypatch.context() as patch:
            patch.setattr(store, "read", read)
            done, _ = apply_filter(operator, start.copy(), np.full_like(start, np.nan), recurrence_of(12))
        results.append(done)
        reads.append(count // 15)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert reads[0] == 12 and reads[2] == 1 and (reads[1] in (2, 3, 4, 6)) == deep
    values, vectors = np.linalg.eigh(dense)
    by = np.polynomial.Chebyshev([0] * 12 + [1])
    middle, half = -0.05, 0.25
    expected = vectors @ (by((values - middle) / half)[:, None] * (vectors.T @ start))
    np.testing.assert_allclose(results[0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("degree", [1, 2, 7, 12])
@pytest.mark.parametrize("memory", [0, 40_000, 1 << 30])
def test_products_in_windows_have_the_bits_of_memory(tmp_path, monkeypatch, memory, degree):
    store, dense = banded(tmp_path)
    monkeypatch.setattr(operator_module, "SWEEP_BYTES", memory)
    start = np.random.default_rng(1).standard_normal((600, 5)).astype(np.float32)

    def results(new):
        operator = BlockOperator(store, store.names("merged/symmetric"), 600, 1, kept_bytes=0)
        x, y, z = new("x"), new("y"), new("z")
        x[:], y[:], z[:] = start, np.nan, np.nan
        x, other = apply_filter(operator, x, y, recurrence_of(degree))
        step(operator, x, other, 1.0, 0.0, 0.0)
        operator.apply(x, z)
        return np.array(x), np.array(other), np.array(z)

    expected = results(lambda _: np.empty((600, 5), np.float32))
    monkeypatch.setattr(paging, "left_bytes", lambda: 0)
    monkeypatch.setattr(paging, "PIECE", 4096)
    found = results(lambda name: np.memmap(tmp_path / name, np.float32, "w+", shape=(600, 5)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found[2], dense @ found[0], rtol=1e-4, atol=1e-5)


def test_a_graph_larger_than_memory_is_read_past_the_cache(tmp_path, monkeypatch):
    store, dense = banded(tmp_path)
    asked = []
    monkeypatch.setattr(operator_module, "limit_bytes", lambda: 1000)
    read = store.read
    monkeypatch.setattr(store, "read", lambda name, cached=True: (asked.append(cached), read(name, cached))[1])
    operator = BlockOperator(store, store.names("merged/symmetric"), 600, 1, kept_bytes=0)
    x = np.random.default_rng(1).standard_normal((600, 5)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_allclose(operator @ x, dense @ x, rtol=1e-4, atol=1e-5)
    assert len(asked) == 30 and not any(asked[15:])


def test_memory_that_others_take_meanwhile_changes_no_bit(tmp_path, monkeypatch):
    store, _ = banded(tmp_path)
    start = np.random.default_rng(1).standard_normal((600, 5)).astype(np.float32)
    monkeypatch.setattr(paging, "left_bytes", lambda: 0)
    monkeypatch.setattr(operator_module, "SWEEP_SHARE", 1)
    results = []
    for left in ([1 << 30] * 9, [40_000] + [0] * 9):
        monkeypatch.setattr(operator_module, "left_bytes", lambda left=left: left.pop(0))
        operator = BlockOperator(store, store.names("merged/symmetric"), 600, 1, kept_bytes=0)
        x, y = (np.memmap(tmp_path / name, np.float32, "w+", shape=start.shape) for name in "xy")
        x[:] = start
        results.append(np.array(apply_filter(operator, x, y, recurrence_of(13))[0]))
    np.testing.assert_array_equal(results[0], results[1])
