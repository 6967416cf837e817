"""Every method against brute force in NumPy; the same graph whatever threads, blocks and interruptions."""

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.neighbours import (
    cell_search,
    exact,
    find_neighbours,
    is_complete,
    open_lists,
    scratch,
)
from spectral_graph.graph.neighbours import problem as problem_module
from spectral_graph.node_rows import ArrayRows

METHODS = ["exact", "cells", "faiss-ivf", "faiss-hnsw"]


def brute(query, key, image_ptr, count, threshold=0.0, means=(0, 0)):
    """Cosines (N, N) in float64, -inf where there can be no edge."""

    def unit(rows, mean):
        rows = rows.astype(np.float64) - mean
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)

    cosine = unit(query, means[0]) @ unit(query if key is None else key, means[1]).T
    image = np.repeat(np.arange(len(image_ptr) - 1), np.diff(image_ptr))
    cosine[image[:, None] == image[None, :]] = -np.inf
    cosine[(cosine <= 0) | (cosine < threshold)] = -np.inf
    return cosine


def require_neighbours(lists, cosine, count, tolerance=2e-6):
    """Every list holds `count` best values, in order, under columns that have these values."""
    columns, values = np.asarray(lists.columns), np.asarray(lists.values)
    best = -np.sort(-cosine, axis=1)[:, :count]
    best = np.pad(best, ((0, 0), (0, count - best.shape[1])), constant_values=-np.inf)
    there = columns >= 0
    assert np.array_equal(there, there[:, :1] & (np.cumsum(~there, 1) == 0))
    # A cosine within rounding of 0 or the threshold may be kept or not.
    sure = np.where(best > -np.inf, best, 0)
    assert np.abs(np.where(there, values, 0) - sure).max() <= tolerance
    rows = np.nonzero(there)
    kept = cosine[rows[0], columns[there]]
    assert (np.abs(kept - values[there])[kept > -np.inf] <= tolerance).all()
    assert (values[~there] == 0).all()
    fall = np.diff(values, axis=1)
    assert (fall <= 0).all()
    assert (columns[:, 1:] > columns[:, :-1])[(fall == 0) & there[:, 1:]].all()


def scene(images=12, nodes=40, dim=48, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((30, dim))
    rows = centres[generator.integers(0, 30, images * nodes)] + 0.6 * generator.standard_normal((images * nodes, dim))
    return rows.astype(np.float32), np.arange(0, images * nodes + 1, nodes)


def recall(lists, cosine, count):
    truth = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    return np.mean([len(np.intersect1d(a, b)) / count for a, b in zip(np.asarray(lists.columns), truth, strict=True)])


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exact_equals_brute_force_over_blocks(tmp_path, monkeypatch, dtype, separate):
    monkeypatch.setattr(exact, "BLOCK_ROWS", 100)
    rows, ptr = scene()
    rows = rows.astype(dtype)
    key = rows[::-1].copy() if separate else None
    means = rows.mean(0, dtype=np.float32), (rows if key is None else key)[:9].mean(0, dtype=np.float32)
    lists = find_neighbours(
        ArrayRows(rows),
        None if key is None else ArrayRows(key),
        ptr,
        7,
        method="exact",
        threshold=0.2,
        query_mean=means[0],
        key_mean=means[1],
        work=tmp_path,
    )
    require_neighbours(lists, brute(rows, key, ptr, 7, 0.2, means if separate else (means[0], means[0])), 7)
    assert lists.facts["recall"] == 1 and lists.facts["zero_rows"] == 0


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("method", METHODS[1:])
def test_approximate_methods_reach_the_recall_they_report(tmp_path, method, separate):
    rows, ptr = scene(30, 100)
    key = (rows + 0.2 * scene(30, 100, seed=1)[0])[::-1].copy() if separate else None
    keys = None if key is None else ArrayRows(key)
    lists = find_neighbours(ArrayRows(rows), keys, ptr, 10, method=method, recall=0.9, work=tmp_path)
    cosine = brute(rows, key, ptr, 10)
    reached = recall(lists, cosine, 10)
    assert reached > 0.87 and abs(reached - lists.facts["recall"]) < 0.04
    columns, values = np.asarray(lists.columns), np.asarray(lists.values)
    there = columns >= 0
    assert np.abs(cosine[np.nonzero(there)[0], columns[there]] - values[there]).max() < 2e-6
    again = open_lists(tmp_path)
    assert again.facts == lists.facts and np.array_equal(again.columns, columns)
    rows = lists.csr(100, 200)
    for row in (0, 57, 99):
        mine = rows.part(row, row + 1)
        order = np.argsort(columns[100 + row][there[100 + row]])
        assert np.array_equal(mine.indices, columns[100 + row][there[100 + row]][order])
        assert np.array_equal(mine.values, values[100 + row][there[100 + row]][order])
    assert not (tmp_path / "tables").exists()


def test_more_recall_is_asked_for_and_got(tmp_path):
    rows, ptr = scene(40, 100, dim=96, seed=3)
    cosine = brute(rows, None, ptr, 10)
    found = [
        recall(find_neighbours(ArrayRows(rows), None, ptr, 10, recall=r, work=tmp_path / str(r)), cosine, 10)
        for r in (0.6, 0.9, 0.99)
    ]
    assert found[0] < found[1] < found[2] and found[1] > 0.88 and found[2] > 0.98


@pytest.mark.parametrize("on_disk", [False, True])
def test_threads_blocks_and_interruptions_do_not_change_the_graph(tmp_path, monkeypatch, on_disk):
    rows, ptr = scene(30, 100)
    if on_disk:
        monkeypatch.setattr(cell_search, "IN_MEMORY", 0)
    first = find_neighbours(ArrayRows(rows), None, ptr, 8, recall=0.9, work=tmp_path / "a", seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    monkeypatch.setattr(cell_search, "BLOCK_ROWS", 300)
    monkeypatch.setattr(problem_module, "READ_ROWS", 150)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    seen, stops = [], [1, 1]

    def stop_midway(done, total):
        seen.append(done)
        if 0 < done < total and stops:
            stops.pop()
            raise KeyboardInterrupt

    again = None
    try:
        for _ in range(4):
            try:
                again = find_neighbours(
                    ArrayRows(rows), None, ptr, 8, recall=0.9, work=tmp_path / "b", seed=5, on_progress=stop_midway
                )
                break
            except KeyboardInterrupt:
                assert not open_lists(tmp_path / "b").facts
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(first.columns, again.columns) and np.array_equal(first.values, again.values)
    assert seen.count(0) == (1 if on_disk else 3), "a search on disk goes on where it was"
    same = {name: fact for name, fact in first.facts.items() if not name.startswith("seconds")}
    assert same == {name: fact for name, fact in again.facts.items() if not name.startswith("seconds")}


def test_exact_goes_on_after_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "BLOCK_ROWS", 100)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    rows, ptr = scene()
    whole = find_neighbours(ArrayRows(rows), None, ptr, 6, method="exact", work=tmp_path / "a")
    calls = []

    def stop(done, total):
        calls.append(done)
        if done == 5 and len(calls) < 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_neighbours(ArrayRows(rows), None, ptr, 6, method="exact", work=tmp_path / "b", on_progress=stop)
    again = find_neighbours(
        ArrayRows(rows),
        None,
        ptr,
        6,
        method="exact",
        work=tmp_path / "b",
        on_progress=lambda done, total: calls.append(done),
    )
    assert calls.count(0) == 1 and calls.count(5) == 2
    assert np.array_equal(whole.columns, again.columns) and np.array_equal(whole.values, again.values)


def test_changed_options_or_rows_start_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(cell_search, "IN_MEMORY", 0)
    monkeypatch.setattr(cell_search, "BLOCK_ROWS", 100)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    rows, ptr = scene()

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_neighbours(ArrayRows(rows), None, ptr, 6, work=tmp_path / "a", on_progress=stop)
    other, _ = scene(seed=9)
    fresh = find_neighbours(ArrayRows(other), None, ptr, 6, work=tmp_path / "b")
    again = find_neighbours(ArrayRows(other), None, ptr, 6, work=tmp_path / "a")
    assert np.array_equal(fresh.columns, again.columns)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_exact_and_exhaustive_cells_on_awkward_rows(tmp_path_factory, data):
    sizes = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(sum))
    ptr = np.r_[0, np.cumsum(sizes)]
    dim, count = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 6))
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = generator.integers(-2, 3, (ptr[-1], dim)).astype(np.float32)  # zero rows, duplicates and ties abound
    cosine = brute(rows, None, ptr, count)
    for method in ("exact", "cells"):
        lists = find_neighbours(
            ArrayRows(rows), None, ptr, count, method=method, recall=0.999, work=tmp_path_factory.mktemp("work")
        )
        assert lists.facts["zero_rows"] == int((~rows.any(axis=1)).sum())
        assert lists.facts["short_rows"] == int((np.asarray(lists.columns)[:, -1] < 0).sum())
        if method == "exact" or ptr[-1] <= 256:
            require_neighbours(lists, np.where(cosine < 1e-6, -np.inf, cosine), count)


@pytest.mark.parametrize("method", METHODS)
def test_all_images_the_same(tmp_path, method):
    one = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
    rows, ptr = np.tile(one, (9, 1)), np.arange(0, 181, 20)
    lists = find_neighbours(ArrayRows(rows), None, ptr, 5, method=method, work=tmp_path)
    require = brute(rows, None, ptr, 5)
    assert np.abs(np.asarray(lists.values) - (-np.sort(-require, 1)[:, :5])).max() < 2e-6
    if method in ("exact", "cells"):  # ties to the lower node
        twins = np.arange(0, 180, 20)[None, :] + np.arange(180)[:, None] % 20
        expected = [[n for n in row if n // 20 != i // 20][:5] for i, row in enumerate(twins)]
        assert np.array_equal(lists.columns, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("images", [1, 3])
def test_fewer_images_than_neighbours(tmp_path, method, images):
    rows = np.abs(np.random.default_rng(0).standard_normal((images, 8))).astype(np.float32)
    lists = find_neighbours(ArrayRows(rows), None, np.arange(images + 1), 10, method=method, work=tmp_path)
    assert (np.asarray(lists.columns) >= 0).sum() == images * (images - 1)
    assert lists.facts["short_rows"] == images


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_length_have_no_neighbours_and_are_nobodys(tmp_path, method):
    rows, ptr = scene(6, 30)
    rows[[3, 77, 179]] = 0
    lists = find_neighbours(ArrayRows(rows), None, ptr, 5, method=method, work=tmp_path / "a")
    columns = np.asarray(lists.columns)
    assert lists.facts["zero_rows"] == 3 and (columns[[3, 77, 179]] == -1).all()
    assert not np.isin(columns, [3, 77, 179]).any()
    empty = find_neighbours(ArrayRows(np.zeros_like(rows)), None, ptr, 5, method=method, work=tmp_path / "b")
    assert (np.asarray(empty.columns) == -1).all() and empty.facts["zero_rows"] == 180


def test_the_gpu_index_is_searched_without_a_selector(tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda index: index, raising=False)
    rows, ptr = scene()
    lists = find_neighbours(ArrayRows(rows), None, ptr, 6, method="faiss-gpu", recall=0.9, work=tmp_path)
    assert recall(lists, brute(rows, None, ptr, 6), 6) > 0.87


def test_features_of_a_store_a_zarr_array_and_a_memory_map_give_the_same(tmp_path):
    rows, _ = scene(10, 30, 16)
    rows = rows.astype(np.float16)
    store = FeatureStore.create(tmp_path / "f.zarr", 11, (5, 6), {"b": 16}, ["v"], 4)
    slots = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    for slot, part in zip(slots, rows.reshape(10, 30, 16), strict=True):
        store.write(slot, {"b": {"v": part}}, np.ones((30, 4)))
    ptr = np.arange(0, 301, 30)
    flat = zarr.create_array(tmp_path / "flat.zarr", shape=rows.shape, chunks=(64, 16), dtype="float16")
    flat[:] = rows
    np.save(tmp_path / "rows.npy", rows)
    sources = {
        "store": store.rows("b", "v", slots),
        "zarr": ArrayRows(flat),
        "map": ArrayRows(np.load(tmp_path / "rows.npy", mmap_mode="r")),
    }
    expected = find_neighbours(ArrayRows(rows), None, ptr, 5, work=tmp_path / "w")
    which = np.array([0, 29, 30, 149, 150, 299])
    for name, source in sources.items():
        assert source.shape == (300, 16) and source.dtype == np.float16
        assert np.array_equal(source.read(which), rows[which])
        assert np.array_equal(source.read(slice(25, 200)), rows[25:200])
        found = find_neighbours(source, None, ptr, 5, work=tmp_path / name)
        assert np.array_equal(found.columns, expected.columns) and np.array_equal(found.values, expected.values)


def test_finished_lists_that_changed_on_the_disk_do_not_count_as_finished(tmp_path):
    rows, ptr = scene(6, 30)
    found = find_neighbours(ArrayRows(rows), None, ptr, 4, recall=0.9, work=tmp_path)
    columns = np.array(found.columns)
    assert is_complete(tmp_path)
    file = tmp_path / "lists.npy"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    assert not is_complete(tmp_path)
    again = find_neighbours(ArrayRows(rows), None, ptr, 4, recall=0.9, work=tmp_path)
    assert is_complete(tmp_path) and np.array_equal(again.columns, columns)
    file.write_bytes(raw[:1000])
    assert not is_complete(tmp_path)


@pytest.mark.parametrize("name", ["rows", "projected", "node", "image", "inverse", "cell_ptr", "truth", "lists"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed", "cut", "gone"])
def test_a_search_does_not_go_on_with_damaged_files(tmp_path, monkeypatch, one_thread, name, damage):
    monkeypatch.setattr(cell_search, "IN_MEMORY", 0)
    monkeypatch.setattr(cell_search, "BLOCK_ROWS", 100)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    rows, ptr = scene(8, 40)
    rows[33] = 0
    whole = find_neighbours(ArrayRows(rows), None, ptr, 6, recall=0.9, work=tmp_path / "a")
    seen = []

    def stop(done, total):
        seen.append(done)
        if len(seen) == 3:
            raise KeyboardInterrupt

    search = {"recall": 0.9, "work": tmp_path / "b", "on_progress": stop}
    with pytest.raises(KeyboardInterrupt):
        find_neighbours(ArrayRows(rows), None, ptr, 6, **search)
    assert seen[-1] > 0
    path = tmp_path / "b" / ("lists.npy" if name == "lists" else f"tables/query/{name}.npy")
    raw = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        if damage == "flipped":
            searched = int(np.flatnonzero(np.asarray(open_lists(tmp_path / "b").columns)[:, 0] >= 0)[0])
            raw[128 + 4 * 6 * searched + 1 if name == "lists" else -9] ^= 4
        elif damage == "zeroed":
            raw[128:] = bytes(len(raw) - 128)
        path.write_bytes(raw[: len(raw) // 2] if damage == "cut" else raw)
    again = find_neighbours(ArrayRows(rows), None, ptr, 6, **search)
    assert seen.count(0) == 2, "it starts anew"
    assert np.array_equal(whole.columns, again.columns) and np.array_equal(whole.values, again.values)


def test_a_search_that_goes_on_trusts_no_list_of_a_row_without_length(tmp_path, monkeypatch):
    """Nothing is ever written there, so nothing else would replace what a failing disk made of it."""
    monkeypatch.setattr(cell_search, "IN_MEMORY", 0)
    monkeypatch.setattr(cell_search, "BLOCK_ROWS", 100)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    rows, ptr = scene(8, 40)
    rows[33] = 0
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == 3:
            lists = open_lists(tmp_path)
            lists.columns[33], lists.values[33] = 7, 0.5
            lists.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_neighbours(ArrayRows(rows), None, ptr, 6, work=tmp_path, on_progress=stop)
    again = find_neighbours(ArrayRows(rows), None, ptr, 6, work=tmp_path, on_progress=stop)
    assert calls.count(0) == 1, "it goes on where it was"
    assert (np.asarray(again.columns[33]) == -1).all() and not np.asarray(again.values[33]).any()


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "lists gone"])
def test_an_exact_search_does_not_go_on_with_damaged_files(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(exact, "BLOCK_ROWS", 100)
    monkeypatch.setattr(scratch, "INTERVAL", 0.0)
    rows, ptr = scene()
    whole = find_neighbours(ArrayRows(rows), None, ptr, 6, method="exact", work=tmp_path / "a")
    calls = []

    def stop(done, total):
        calls.append(done)
        if len(calls) == 5:
            raise KeyboardInterrupt

    search = {"method": "exact", "work": tmp_path / "b", "on_progress": stop}
    with pytest.raises(KeyboardInterrupt):
        find_neighbours(ArrayRows(rows), None, ptr, 6, **search)
    path = tmp_path / "b" / ("lists.npy" if damage == "lists gone" else exact.MERGED)
    raw = path.read_bytes()
    path.unlink()
    if damage in ("flipped", "cut"):
        path.write_bytes(raw[:-5] if damage == "cut" else raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:])
    again = find_neighbours(ArrayRows(rows), None, ptr, 6, **search)
    assert calls.count(0) == (1 if damage == "lists gone" else 2)
    assert np.array_equal(whole.columns, again.columns) and np.array_equal(whole.values, again.values)
    assert {file.name for file in (tmp_path / "b").iterdir()} == {"lists.npy", "facts.json"}
