"""Cluster maps on disk: read back as written; what is missing or damaged is named."""

import numpy as np
import pytest

from spectral_graph.errors import FormatError
from spectral_graph.segment.store import IMAGES_PER_CHUNK, RegionStore

IMAGES, GRID, K = IMAGES_PER_CHUNK + 3, (2, 3), 5


@pytest.fixture
def labels():
    """Of two seeds; those of the first are zero in the whole first chunk."""
    values = np.random.default_rng(0).integers(0, K, (2, IMAGES, 6)).astype(np.uint16)
    values[0, :IMAGES_PER_CHUNK] = 0
    return values


@pytest.fixture
def store(tmp_path, labels):
    with RegionStore.create(tmp_path / "regions.zarr", GRID, (0, 1), K) as made:
        made.add_method("vv", IMAGES, 4)
        for seed in (0, 1):
            made.write_centroids("vv", seed, np.ones((K, 4), np.float32))
            for start in range(0, IMAGES, 10):
                made.write("vv", seed, start, labels[seed, start : start + 10])
    return RegionStore.open(tmp_path / "regions.zarr")


def test_maps_are_read_back(store, labels):
    for seed in (0, 1):
        for image in range(IMAGES):
            np.testing.assert_array_equal(store.read("vv", seed, image), labels[seed, image].reshape(GRID))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_missing_chunk_is_named_and_not_read_as_region_0(store, seed):
    (store.path / "vv" / "labels" / "c" / str(seed) / "0" / "0").unlink()
    words = rf"regions.zarr/vv/labels, image 7: the chunk of seed {seed} is missing; recompute with `force=segment`"
    with pytest.raises(FormatError, match=words):
        store.read("vv", seed, 7)
    store.read("vv", seed, IMAGES_PER_CHUNK)
    store.read("vv", 1 - seed, 7)


@pytest.mark.parametrize("size", [0, 9])
def test_a_truncated_chunk_and_a_missing_array_are_named(store, size):
    chunk = store.path / "vv" / "labels" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:size])
    with pytest.raises(FormatError, match=r"vv/labels, image 7: .*recompute with `force=segment`"):
        store.read("vv", 1, 7)
    (store.path / "vv" / "labels" / "zarr.json").unlink()
    with pytest.raises(FormatError, match=r"vv/labels, image 7: .*recompute with `force=segment`"):
        RegionStore.open(store.path).read("vv", 0, 7)
