import os
from dataclasses import replace
from pathlib import Path

import anndata.io
import google_crc32c
import numpy as np
import pytest
import zarr
from scipy.sparse import random as sparse_random

from spectral_graph.errors import DiskFullError, FormatError, GraphError
from spectral_graph.graph.blocks import Block, GraphStore
from spectral_graph.graph.merge import merge_layers, normalise
from spectral_graph.graph.operator import BlockOperator, affinity_operator, merged_operator


def symmetric(n, seed, density=0.2):
    upper = sparse_random(n, n, density, random_state=seed, format="csr", dtype=np.float32)
    matrix = (upper + upper.T).tocsr()
    matrix.sort_indices()
    return matrix


def block_of(matrix, rows):
    degree = np.asarray(matrix.sum(axis=1)).ravel().astype(np.float32)
    facts = {"short_rows": 0, "recall": 1.0}
    return Block(
        np.asarray(rows), matrix.indptr.astype(np.int64), matrix.indices, matrix.data.astype(np.float32), degree, facts
    )


def rectangle(n=6, m=9, first=12, seed=0):
    """Rows first..first + n against the even nodes below 2 m."""
    matrix = sparse_random(n, m, 0.4, random_state=seed, format="csr", dtype=np.float32)
    matrix.sort_indices()
    degree = np.asarray(matrix.sum(axis=1)).ravel().astype(np.float32)
    block = Block(
        np.arange(first, first + n),
        matrix.indptr.astype(np.int64),
        matrix.indices,
        matrix.data,
        degree,
        {},
        columns=np.arange(0, 2 * m, 2),
        in_degree=np.arange(n, dtype=np.int32),
    )
    return block, matrix


@pytest.fixture
def store(tmp_path):
    return GraphStore.create(tmp_path / "graph.zarr", {"nodes": 30, "rounds": 2, "kind": "vv", "layers": ["a"]})


def test_written_block_is_read_back_and_opens_in_anndata(store):
    matrix = symmetric(10, 0)
    store.write("blocks/a/000000", block_of(matrix, range(5, 15)))
    found = GraphStore.open(store.path).read("blocks/a/000000")
    np.testing.assert_array_equal(found.rows, np.arange(5, 15))
    assert found.indptr.dtype == np.int64
    assert found.indices.dtype == np.int32
    np.testing.assert_array_equal(found.degree, np.asarray(matrix.sum(axis=1)).ravel())
    backed = anndata.io.sparse_dataset(zarr.open_group(store.path / "blocks/a/000000", mode="r"))
    np.testing.assert_array_equal(backed.to_memory().toarray(), matrix.toarray())
    np.testing.assert_array_equal(backed[2:6].toarray(), matrix[2:6].toarray())


def test_block_with_columns_of_its_own_is_read_back_and_opens_in_anndata(store):
    block, matrix = rectangle()
    store.write("blocks/a/000000", block)
    found = store.read("blocks/a/000000")
    for name in ("rows", "columns", "indptr", "indices", "values", "degree", "in_degree"):
        np.testing.assert_array_equal(getattr(found, name), getattr(block, name))
        assert getattr(found, name).dtype == getattr(block, name).dtype
    backed = anndata.io.sparse_dataset(zarr.open_group(store.path / "blocks/a/000000", mode="r"))
    np.testing.assert_array_equal(backed.to_memory().toarray(), matrix.toarray())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": np.arange(8)}, "a column lies outside 0..7"),
        ({"columns": np.arange(22, 31)}, "columns is not ascending within the nodes"),
        ({"columns": np.array([0, 2, 1, 3, 4, 5, 6, 7, 8])}, "columns is not ascending"),
        ({"rows": np.arange(-1, 5)}, "rows is not ascending within the nodes"),
        ({"rows": np.arange(5)}, "arrays do not fit together"),
        ({"indptr": np.array([0, 5, 4, 10, 12, 14, 22])}, "indptr is not ascending"),
    ],
)
def test_contradictory_block_is_refused(store, change, words):
    block, _ = rectangle()
    block = replace(block, indices=np.r_[block.indices[:-1], 8].astype(np.int32))
    store.write("blocks/a/000000", replace(block, **change))
    with pytest.raises(FormatError, match=words):
        store.read("blocks/a/000000")


def test_empty_block_is_legal(store):
    store.write("blocks/a/000000", block_of(symmetric(4, 0, 0.0), range(4)))
    assert len(store.read("blocks/a/000000").values) == 0


def chunk_files(folder: Path):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")


def test_flipped_byte_is_found_and_named(store):
    store.write("blocks/a/000000", block_of(symmetric(10, 0), range(10)))
    victim = next(p for p in chunk_files(store.path) if "/data/" in str(p))
    raw = bytearray(victim.read_bytes())
    raw[5] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(FormatError, match=r"blocks/a/000000.*`force=graph`"):
        store.read("blocks/a/000000")


@pytest.mark.parametrize("array", ["data", "indices", "indptr", "rows"])
def test_truncated_chunk_is_found(store, array):
    store.write("blocks/a/000000", block_of(symmetric(10, 0), range(10)))
    victim = next(p for p in chunk_files(store.path) if f"/{array}/" in str(p))
    os.truncate(victim, 3)
    with pytest.raises(FormatError, match="damaged block"):
        store.read("blocks/a/000000")


def test_missing_chunk_of_indptr_is_found(store):
    store.write("blocks/a/000000", block_of(symmetric(10, 0), range(10)))
    next(p for p in chunk_files(store.path) if "/indptr/" in str(p)).unlink()
    with pytest.raises(FormatError, match="damaged block"):
        store.read("blocks/a/000000")


def test_interrupted_write_leaves_nothing(store, monkeypatch):
    written = []

    def fail_at_the_third(raw):
        written.append(raw)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(google_crc32c, "value", fail_at_the_third)
    with pytest.raises(DiskFullError, match="is full"):
        store.write("blocks/a/000000", block_of(symmetric(4, 0), range(4)))
    assert not store.has("blocks/a/000000")
    assert [p.name for p in (store.path / "blocks" / "a").iterdir()] == ["zarr.json"]


def test_no_graph_is_said_in_words(tmp_path):
    with pytest.raises(FormatError, match=r"holds no graph|is damaged"):
        GraphStore.open(tmp_path / "nothing.zarr")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "3",
        "[]",
        '"x"',
        "{}",
        '{"zarr_format": 3, "node_type": "group", "attributes": []}',
        '{"zarr_format": 3, "node_type": "group", "attributes": {"spectral_graph": [1]}}',
    ],
)
def test_a_damaged_description_is_told_in_words(tmp_path, content):
    (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(FormatError, match=r"holds no graph|is damaged"):
        GraphStore.open(tmp_path)


def test_other_format_is_refused(tmp_path):
    GraphStore.create(tmp_path / "g", {})
    zarr.open_group(tmp_path / "g", mode="r+").attrs["spectral_graph"] = {"format": 99}
    with pytest.raises(FormatError, match="graph format 99"):
        GraphStore.open(tmp_path / "g")


@pytest.mark.parametrize("normalisation", ["symmetric", "random_walk"])
def test_normalised_values_equal_the_dense_formula(normalisation):
    matrix = symmetric(12, 3)
    matrix[4] = 0
    matrix[:, 4] = 0
    matrix = matrix.tocsr()
    matrix.eliminate_zeros()
    block = block_of(matrix, range(12))
    dense = matrix.toarray().astype(np.float64)
    degree = dense.sum(axis=1)
    inverse = np.divide(1, degree, out=np.zeros(12), where=degree > 0)
    if normalisation == "symmetric":
        expected = np.sqrt(inverse)[:, None] * dense * np.sqrt(inverse)
    else:
        expected = (inverse[:, None] * dense + dense * inverse) / 2
    matrix.data = normalise(block, normalisation)
    np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-6)


def test_merged_layers_are_the_mean():
    blocks = [block_of(symmetric(15, seed), range(15)) for seed in range(3)]
    merged = merge_layers(blocks, "symmetric")
    parts = []
    for block in blocks:
        matrix = symmetric(15, len(parts))
        matrix.data = normalise(block, "symmetric")
        parts.append(matrix.toarray())
    found = np.zeros((15, 15))
    rows = np.repeat(np.arange(15), np.diff(merged.indptr))
    found[rows, merged.indices] = merged.values
    np.testing.assert_allclose(found, np.mean(parts, axis=0), atol=1e-6)


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("columns", [1, 7])
def test_operator_equals_the_dense_mean_of_its_blocks(store, kept, columns):
    parts = [list(range(0, 30, 2)), list(range(1, 30, 2)), list(range(15)), list(range(15, 30))]
    total = np.zeros((30, 30))
    for index, rows in enumerate(parts):
        matrix = symmetric(15, index)
        store.write(f"blocks/a/{index:06d}", block_of(matrix, rows))
        total[np.ix_(rows, rows)] += matrix.toarray() / 2
    operator = BlockOperator(store, store.names("blocks/a"), 30, 2, kept_bytes=kept)
    x = np.random.default_rng(0).standard_normal((30, columns)).astype(np.float32)
    np.testing.assert_allclose(operator @ x, total @ x, atol=1e-5)
    np.testing.assert_allclose(affinity_operator(store, "a") @ x, total @ x, atol=1e-5)
    np.testing.assert_allclose(operator @ x[:, 0], total @ x[:, 0], atol=1e-5)


def test_operator_of_one_block(tmp_path):
    store = GraphStore.create(tmp_path / "g", {"nodes": 9, "rounds": 1})
    matrix = symmetric(9, 1)
    store.write("merged/symmetric/000000", block_of(matrix, range(9)))
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    np.testing.assert_allclose(merged_operator(store, "symmetric") @ x, matrix @ x, atol=1e-5)


def test_operator_refuses_wrong_shapes_and_empty_graphs(store):
    with pytest.raises(GraphError, match="has no blocks"):
        affinity_operator(store, "a")
    store.write("blocks/a/000000", block_of(symmetric(30, 0), range(30)))
    with pytest.raises(GraphError, match=r"\(29, 2\).*\(30, C\)"):
        affinity_operator(store, "a").apply(np.zeros((29, 2), np.float32), np.zeros((29, 2), np.float32))
