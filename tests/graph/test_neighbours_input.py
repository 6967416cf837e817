"""Input that no search can use is refused by name, whatever the method."""

import numpy as np
import pytest
import torch
import zarr

from spectral_graph.errors import ConfigError, FeatureError, FormatError, GraphError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.neighbours import find_neighbours
from spectral_graph.node_rows import ArrayRows

METHODS = ["exact", "cells", "faiss-ivf", "faiss-hnsw"]


def scene(images=12, nodes=40, dim=48, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((30, dim))
    rows = centres[generator.integers(0, 30, images * nodes)] + 0.6 * generator.standard_normal((images * nodes, dim))
    return rows.astype(np.float32), np.arange(0, images * nodes + 1, nodes)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_by_name(tmp_path, method, bad):
    rows, ptr = scene(6, 30)
    rows[77, 5] = bad
    with pytest.raises(FeatureError, match=r"query vector of node 77 \(image 2, its node 17\) holds NaN or infinity"):
        find_neighbours(ArrayRows(rows), None, ptr, 5, method=method, work=tmp_path / "a")
    with pytest.raises(FeatureError, match=r"key vector of node 77"):
        find_neighbours(ArrayRows(np.ones_like(rows)), ArrayRows(rows), ptr, 5, method=method, work=tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"image_ptr": np.array([0, 5])}, GraphError, "image_ptr must ascend from 0 to the number of rows, 480"),
        ({"count": 0}, GraphError, "at least 1 neighbour"),
        ({"recall": 1.0}, GraphError, "recall must lie between 0 and 1, got 1"),
        ({"threshold": -0.1}, GraphError, "threshold must be a finite number of at least 0, got -0.1"),
        ({"query": ArrayRows(np.ones((0, 4), np.float32))}, GraphError, "no nodes to find neighbours for"),
        ({"key": ArrayRows(np.ones((480, 4), np.float32))}, FeatureError, "keys must have the shape of the queries"),
        ({"query_mean": np.zeros(3)}, FeatureError, "the mean of the query rows must be 48 finite numbers"),
        ({"method": "magic"}, ConfigError, "there is no neighbour search 'magic'; choose one of cells, exact"),
        ({"method": "faiss-gpu"}, ConfigError, "finds none"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, change, error, text):
    if change.get("method") == "faiss-gpu" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    rows, ptr = scene()
    arguments = {"query": ArrayRows(rows), "key": None, "image_ptr": ptr, "count": 5, "work": tmp_path} | change
    with pytest.raises(error, match=text):
        find_neighbours(**arguments)


def test_a_truncated_chunk_is_an_error_that_names_it(tmp_path):
    store = FeatureStore.create(tmp_path / "f.zarr", 4, (3, 3), {"b": 8}, ["v"], 4)
    for slot in range(4):
        store.write(slot, {"b": {"v": np.random.default_rng(slot).standard_normal((9, 8))}}, np.ones((9, 4)))
    chunk = tmp_path / "f.zarr" / "layers" / "b" / "v" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(FormatError, match="image slot 2: damaged chunk"):
        find_neighbours(store.rows("b", "v", range(4)), None, np.arange(0, 37, 9), 3, work=tmp_path / "w")
    chunk.unlink()
    with pytest.raises(FormatError, match="image slot 2: its chunk is missing; recompute with `force=extract`"):
        find_neighbours(store.rows("b", "v", range(4)), None, np.arange(0, 37, 9), 3, work=tmp_path / "w")
    for key, read in (("final", store.read_final), ("layers/b/v_mean", lambda slots: store.mean("b", "v", slots))):
        next(path for path in (tmp_path / "f.zarr" / key / "c" / "1").rglob("0") if path.is_file()).unlink()
        with pytest.raises(FormatError, match=f"{key}, image slot 1: its chunk is missing"):
            read([0, 1])
    flat = zarr.create_array(
        tmp_path / "g.zarr", shape=(40, 8), chunks=(10, 8), dtype="float32", compressors=[zarr.codecs.Crc32cCodec()]
    )
    flat[:] = 1 + np.arange(320).reshape(40, 8)
    chunk = tmp_path / "g.zarr" / "c" / "2" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(FormatError, match="damaged chunk in the rows"):
        find_neighbours(ArrayRows(flat), None, np.arange(0, 41, 10), 3, work=tmp_path / "x")
