"""Blocks read from their files equal what zarr reads, and damage is found."""

import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

import spectral_graph.graph.blocks as blocks
from spectral_graph.errors import FormatError
from spectral_graph.graph.block_files import read_block_files, write_block_files
from spectral_graph.graph.blocks import Block, GraphStore


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK", 7)
    store = GraphStore.create(tmp_path / "g", {"nodes": 30})
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 5, 10)
    values = generator.random(counts.sum()).astype(np.float32)
    indices = np.concatenate([np.sort(generator.choice(20, count, replace=False)) for count in counts])
    indptr = np.r_[0, np.cumsum(counts)]
    block = Block(np.arange(10), indptr, indices.astype(np.int32), values, None, {"a": 1}, np.arange(20) + 5)
    store.write("blocks/a/000000", block)
    return store


def test_arrays_of_several_chunks_equal_those_of_zarr(store):
    folder = store.path / "blocks/a/000000"
    attributes, arrays = read_block_files(folder)
    group = zarr.open_group(folder, mode="r")
    assert attributes == dict(group.attrs) and attributes["facts"] == {"a": 1}
    expected = dict(group.arrays())
    assert set(arrays) == set(expected) == {"data", "indices", "indptr", "rows", "columns"}
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array[...])
        assert arrays[name].dtype == array.dtype and array.chunks == (7,)


def test_what_is_written_is_what_zarr_writes(tmp_path):
    generator = np.random.default_rng(1)
    arrays = {
        "data": generator.random(20).astype(np.float32),
        "indices": np.arange(14, dtype=np.int32),
        "indptr": np.arange(3),
        "none": np.empty(0, np.float32),
    }
    (tmp_path / "ours").mkdir()
    write_block_files(tmp_path / "ours", {"shape": [2, 5], "facts": {"recall": 0.5}}, arrays, 7)
    group = zarr.open_group(tmp_path / "theirs", mode="w", zarr_format=3)
    group.attrs.update({"shape": [2, 5], "facts": {"recall": 0.5}})
    for name, value in arrays.items():
        array = group.create_array(
            name,
            shape=value.shape,
            dtype=value.dtype,
            chunks=(max(1, min(7, len(value))),),
            compressors=[Crc32cCodec()],
            config={"write_empty_chunks": True},
        )
        array[...] = value
    ours, theirs = (zarr.open_group(tmp_path / name, mode="r") for name in ("ours", "theirs"))
    assert dict(ours.attrs) == dict(theirs.attrs)
    assert {name for name, _ in ours.arrays()} == set(arrays)
    for name, value in arrays.items():
        assert ours[name].metadata == theirs[name].metadata
        np.testing.assert_array_equal(ours[name][...], value)
        chunks = [sorted((tmp_path / who / name).glob("c/*")) for who in ("ours", "theirs")]
        assert [file.read_bytes() for file in chunks[0]] == [file.read_bytes() for file in chunks[1]]


@pytest.mark.parametrize("name", ["data", "indices", "indptr", "rows", "columns"])
def test_a_changed_missing_or_short_chunk_is_named(store, name):
    file = store.path / "blocks/a/000000" / name / "c/1"
    whole = file.read_bytes()
    for damaged in (whole[:3] + bytes([whole[3] ^ 1]) + whole[4:], whole[:-1], b""):
        file.write_bytes(damaged)
        with pytest.raises(FormatError, match=rf"blocks/a/000000.*{name}/c/1"):
            store.read("blocks/a/000000")
    file.unlink()
    with pytest.raises(FormatError, match=rf"blocks/a/000000: damaged block .*{name}/c/1"):
        store.read("blocks/a/000000")


def test_a_damaged_description_is_named(store):
    file = store.path / "blocks/a/000000/data/zarr.json"
    for text in ('{"codecs"', "{}"):
        file.write_text(text)
        with pytest.raises(FormatError, match="blocks/a/000000: damaged block"):
            store.read("blocks/a/000000")


def test_arrays_stored_in_another_way_are_read_by_zarr(store):
    before = store.read("blocks/a/000000")
    group = zarr.open_group(store.path / "blocks/a/000000", mode="r+")
    del group["data"]
    group.create_array("data", data=before.values, compressors="auto")
    assert read_block_files(store.path / "blocks/a/000000") is None
    np.testing.assert_array_equal(store.read("blocks/a/000000").values, before.values)
