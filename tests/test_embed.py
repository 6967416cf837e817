"""spectral_embedding against the same graph made densely in float64."""

import numpy as np
import pytest
import torch
from dense_graph import EXACT, dense_operator, scene

import spectral_graph as sg
from spectral_graph.errors import ConfigError, FeatureError, GraphError, SolverError


def check(found, operator, channels, tol=1e-5):
    values = np.linalg.eigvalsh(operator)[::-1][:channels]
    assert found.vectors.shape == (len(operator), channels) and found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.eigenvalues, values, atol=2e-6)
    x = found.vectors.astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(x, axis=0), 1, atol=1e-5)
    residuals = np.linalg.norm(operator @ x - x * found.eigenvalues, axis=0)
    assert residuals.max() < 2 * tol and found.residuals.max() <= tol


@pytest.mark.parametrize("centre", [True, False])
def test_one_layer_equals_the_dense_graph(centre):
    rows = scene(6, 25)
    image = np.repeat(np.arange(6), 25)
    found = sg.spectral_embedding(
        rows, nodes_per_image=np.int64(25), n_components=7, c_intra=4, c_inter=5, threshold=0.2, centre=centre, **EXACT
    )
    check(found, dense_operator([(rows, rows)], image, 4, 5, 0.2, centre), 7)


def test_layers_and_pairs_of_queries_and_keys_merge():
    first, query, key = scene(5, 20), scene(5, 20, seed=1), scene(5, 20, seed=2)
    starts = np.array([0, 15, 40, 60, 81, 100])
    image = np.repeat(np.arange(5), np.diff(starts))
    layers = [torch.from_numpy(first), sg.Layer(query, key)]
    found = sg.spectral_embedding(
        layers, image_ptr=starts, n_components=5, c_intra=3, c_inter=4, threshold=0.1, block=30, **EXACT
    )
    check(found, dense_operator([(first, first), (query, key)], image, 3, 4, 0.1), 5)


def test_without_images_neighbours_come_from_anywhere():
    rows = scene(1, 130)
    options = {**EXACT, "sharpen": 3.0}
    found = sg.spectral_embedding(rows, n_components=6, c_intra=2, c_inter=6, threshold=0.0, **options)
    check(found, dense_operator([(rows, rows)], np.arange(130), 0, 8, 0.0, sharpen=3.0), 6)


def test_types_of_input_give_the_same_bits(tmp_path):
    rows = scene(4, 30).astype(np.float16)
    mapped = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float16, rows.shape)
    mapped[:] = rows
    options = {"n_components": 4, "c_intra": 5, "c_inter": 5, **EXACT}
    results = [
        sg.spectral_embedding(given, nodes_per_image=30, **options)
        for given in (rows, torch.from_numpy(rows), np.load(tmp_path / "rows.npy", mmap_mode="r"), [rows])
    ]
    for other in results[1:]:
        assert np.array_equal(other.vectors, results[0].vectors)
    wide = sg.spectral_embedding(rows.astype(np.float64), nodes_per_image=30, **options)
    np.testing.assert_allclose(wide.eigenvalues, results[0].eigenvalues, atol=1e-5)


def test_defaults_work_and_leave_no_files(tmp_path):
    rows = scene(8, 30)
    found = sg.spectral_embedding(rows, nodes_per_image=30, scratch=tmp_path, n_components=6)
    assert found.eigenvalues[0] == pytest.approx(1, abs=0.2) and found.residuals.max() <= 1e-3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("features", "images", "options", "error", "text"),
    [
        ([], None, {}, FeatureError, "the list of layers is empty"),
        (np.zeros((0, 3), np.float32), None, {}, FeatureError, "no rows"),
        (np.zeros(4, np.float32), None, {}, FeatureError, r"layer 0 have shape \(4,\)"),
        ([np.ones((4, 3)), np.ones((5, 3))], None, {}, FeatureError, r"layer 1 have shape \(5, 3\).*4 nodes"),
        (sg.Layer(np.ones((4, 3)), np.ones((4, 2))), None, {}, FeatureError, "queries and keys of equal shape"),
        (np.ones((10, 3), np.complex64), 5, {"c_intra": 2, "c_inter": 2}, FeatureError, "complex64"),
        (np.ones((10, 3)), 4, {}, FeatureError, "10 nodes do not divide into images of 4"),
        (np.ones((10, 3)), np.array([0, 5, 5, 10]), {}, FeatureError, "image_ptr.*ascending from 0"),
        (np.full((10, 3), np.nan), 5, {"c_intra": 2, "c_inter": 2}, FeatureError, "NaN or infinity"),
        (np.ones((10, 3)), 5, {"c_intra": 9}, GraphError, "c_intra is 9"),
        (
            np.ones((10, 3)),
            5,
            {"c_intra": 2, "c_inter": 2, "n_components": 11},
            SolverError,
            "`n_components=11`.*10 nodes",
        ),
        (np.ones((10, 3)), 5, {"c_intra": 2, "c_inter": 2, "centre": True, "n_components": 2}, SolverError, "no edges"),
        (np.ones((10, 3)), 5, {"n_components": 0}, ConfigError, "`n_components=0`"),
        (np.ones((10, 3)), 5, {"colour": 1}, ConfigError, "`colour`: there is no such option here"),
        (np.ones((10, 3)), 5, {"solver": "adam"}, ConfigError, "`solver`: there is no such option here"),
        (np.ones((10, 3)), np.array([0, 2.5, 10]), {}, FeatureError, "`image_ptr=.*not whole numbers"),
    ],
)
def test_bad_input_is_named(features, images, options, error, text):
    with pytest.raises(error, match=text):
        place = "image_ptr" if isinstance(images, np.ndarray) else "nodes_per_image"
        sg.spectral_embedding(features, **{place: images}, **options)
