"""What `spectral_embedding` takes as vectors and images: converted, or one FeatureError that names the layer."""

import warnings

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import spectral_graph as sg
from spectral_graph.errors import (
    ConfigError,
    DiskFullError,
    FeatureError,
    GraphError,
    SolverError,
    SpectralGraphWarning,
)
from spectral_graph.vectors import first_nodes, ready_rows, split_layers

OPTIONS = {"n_components": 4, "c_intra": 3, "c_inter": 4, "neighbours": "exact", "tol": 1e-5}
NODES, DEPTH = 60, 7


def scene(nodes=NODES, depth=DEPTH, seed=0):
    generator = np.random.default_rng(seed)
    kinds = generator.standard_normal((4, depth))
    return (kinds[generator.integers(0, 4, nodes)] + 0.6 * generator.standard_normal((nodes, depth))).astype(np.float32)


class Lazy:
    """As an array of h5py: rows by slices and by ascending lists, no `oindex`."""

    def __init__(self, array):
        self._array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, (8, array.shape[1])

    def __getitem__(self, which):
        return self._array[which]


class Frame:
    """As a pandas DataFrame: no dtype of its own, an array on demand."""

    def __init__(self, array):
        self._array, self.shape = array, array.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype)


def read_only(rows):
    rows = rows.copy()
    rows.setflags(write=False)
    return rows


def mapped(rows, folder, dtype, mode="r"):
    np.save(folder / "rows.npy", rows.astype(dtype))
    return np.load(folder / "rows.npy", mmap_mode=mode)


SAME = {
    "torch": lambda rows, folder: torch.from_numpy(rows),
    "torch with a gradient": lambda rows, folder: torch.from_numpy(rows).requires_grad_(),
    "torch transposed": lambda rows, folder: torch.from_numpy(rows.T.copy()).T,
    "torch sparse": lambda rows, folder: torch.from_numpy(rows).to_sparse(),
    "torch compressed": lambda rows, folder: torch.from_numpy(rows).to_sparse_csr(),
    "torch float64": lambda rows, folder: torch.from_numpy(rows).double(),
    "scipy matrix": lambda rows, folder: sparse.csr_matrix(rows),
    "scipy array": lambda rows, folder: sparse.coo_array(rows),
    "list of rows": lambda rows, folder: rows.tolist(),
    "tuple of rows": lambda rows, folder: tuple(map(tuple, rows.tolist())),
    "list of arrays of one axis": lambda rows, folder: list(rows),
    "list of one layer": lambda rows, folder: [rows],
    "list of a list of rows": lambda rows, folder: [rows.tolist()],
    "frame": lambda rows, folder: Frame(rows),
    "big-endian": lambda rows, folder: rows.astype(">f4"),
    "big-endian float64": lambda rows, folder: rows.astype(">f8"),
    "long double": lambda rows, folder: rows.astype(np.longdouble),
    "columns first": lambda rows, folder: np.asfortranarray(rows),
    "every other row": lambda rows, folder: np.repeat(rows, 2, axis=0)[::2],
    "read-only": lambda rows, folder: read_only(rows),
    "unmasked": lambda rows, folder: np.ma.MaskedArray(rows),
    "matrix": lambda rows, folder: np.asmatrix(rows),
    "map": lambda rows, folder: mapped(rows, folder, "f4"),
    "map of float64": lambda rows, folder: mapped(rows, folder, "f8"),
    "map of big-endian float64": lambda rows, folder: mapped(rows, folder, ">f8"),
    "zarr": lambda rows, folder: zarr.array(rows, chunks=(16, DEPTH)),
    "zarr of float64": lambda rows, folder: zarr.array(rows.astype("f8"), chunks=(16, DEPTH)),
    "lazy": lambda rows, folder: Lazy(rows),
    "lazy float64": lambda rows, folder: Lazy(rows.astype("f8")),
    "pair": lambda rows, folder: sg.Layer(rows, rows.copy()),
    "pair of lists": lambda rows, folder: sg.Layer(rows.tolist(), torch.from_numpy(rows)),
}


@pytest.fixture(scope="module")
def plain():
    return sg.spectral_embedding(scene(), nodes_per_image=15, **OPTIONS)


@pytest.mark.parametrize("form", SAME)
def test_vectors_of_every_form_give_the_same_graph(form, plain, tmp_path):
    given = SAME[form](scene(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sg.spectral_embedding(given, nodes_per_image=15, scratch=str(tmp_path), **OPTIONS)
    np.testing.assert_allclose(found.eigenvalues, plain.eigenvalues, atol=1e-6)
    assert found.converged and found.components == plain.components


@pytest.mark.parametrize("form", ["read-only", "lazy float64", "list of rows", "zarr"])
def test_an_approximate_search_takes_them_too(form, tmp_path):
    rows = scene(600)
    options = {**OPTIONS, "neighbours": "cells"}
    plain = sg.spectral_embedding(rows, nodes_per_image=60, **options)
    found = sg.spectral_embedding(SAME[form](rows, tmp_path), nodes_per_image=60, **options)
    np.testing.assert_allclose(found.eigenvalues, plain.eigenvalues, atol=5e-3)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64, ">i4", bool])
def test_whole_numbers_are_converted(kind):
    rows = np.abs(np.round(20 * scene())).astype(kind)
    expected = sg.spectral_embedding(rows.astype(np.float32), nodes_per_image=15, **OPTIONS)
    np.testing.assert_allclose(
        sg.spectral_embedding(rows, nodes_per_image=15, **OPTIONS).eigenvalues, expected.eigenvalues, atol=1e-5
    )


def test_bfloat16_and_float16_are_taken(plain):
    rows = torch.from_numpy(scene()).bfloat16()
    found = sg.spectral_embedding(rows, nodes_per_image=15, **OPTIONS)
    np.testing.assert_allclose(found.eigenvalues, plain.eigenvalues, atol=0.02)
    assert split_layers(np.ones((3, 2), np.float16))[0][0].dtype == np.float16


BAD = {
    "nothing": None,
    "a word": "vectors.npy",
    "bytes": b"1",
    "a number": 3.0,
    "a dict": {"a": np.ones((NODES, 3))},
    "a set": {1, 2},
    "a generator": (row for row in [[1.0]]),
    "an object": object(),
    "no layers": [],
    "an empty tuple": (),
    "a tuple of one": (np.ones((NODES, 3)),),
    "queries, keys and values": (np.ones((NODES, 3)),) * 3,
    "a number in a list": [3.0, 4.0],
    "nothing in a list": [np.ones((NODES, 3)), None],
    "one axis": np.ones(NODES),
    "three axes": np.ones((4, 15, 3)),
    "torch of three axes": torch.ones(4, 15, 3),
    "four axes": np.ones((2, 2, 15, 3)),
    "no axes": np.float32(1),
    "no rows": np.ones((0, 3)),
    "no columns": np.ones((NODES, 0)),
    "rows of no numbers": [[], []],
    "rows of several lengths": [[1.0, 2.0], [1.0]],
    "rows with a word": [[1.0, "x"], [1.0, 2.0]],
    "rows with nothing": [[1.0, None], [1.0, 2.0]],
    "text": np.full((NODES, 3), "1.0"),
    "objects": np.full((NODES, 3), None),
    "records": np.zeros(NODES, [("a", "f4"), ("b", "f4")]),
    "dates": np.zeros((NODES, 3), "datetime64[s]"),
    "complex": np.ones((NODES, 3), complex),
    "torch complex": torch.ones(NODES, 3, dtype=torch.complex64),
    "torch without memory": torch.ones(NODES, 3, device="meta"),
    "masked": np.ma.MaskedArray(np.ones((NODES, 3)), mask=np.eye(NODES, 3)),
    "frame of objects": Frame(np.full((NODES, 3), "x", object)),
    "layers of several sizes": [np.ones((NODES, 3)), np.ones((5, 3))],
    "queries and keys of several widths": sg.Layer(np.ones((NODES, 3)), np.ones((NODES, 2))),
    "a pair": (np.ones((NODES, 3)), np.ones((NODES, 3))),
    "queries and keys of several sizes": sg.Layer(np.ones((NODES, 3)), np.ones((5, 3))),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_matrix_is_one_error_that_names_the_layer(case):
    with pytest.raises(FeatureError) as refused:
        sg.spectral_embedding(BAD[case], nodes_per_image=15, **OPTIONS)
    text = str(refused.value)
    number = 1 if case in ("nothing in a list", "layers of several sizes") else 0
    assert f"layer {number}" in text or case == "no layers"
    assert "--" not in text and "\n" not in text


def test_the_hint_for_three_axes_works():
    rows = scene().reshape(4, 15, DEPTH)
    with pytest.raises(FeatureError, match=r"reshape\(-1, 7\).*`nodes_per_image=15`"):
        sg.spectral_embedding(rows, **OPTIONS)
    sg.spectral_embedding(rows.reshape(-1, DEPTH), nodes_per_image=15, **OPTIONS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("centre", [True, False])
def test_nan_and_infinity_name_node_and_layer(dtype, bad, centre):
    rows = scene(9000).astype(dtype)
    rows[8000, 2] = bad
    with pytest.raises(FeatureError, match=r"layer 1.*node 8000"):
        sg.spectral_embedding([scene(9000), sg.Layer(scene(9000), rows)], nodes_per_image=15, centre=centre, **OPTIONS)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (1e39, "f8"),
        (1e300, "f8"),
        (1e-45, "f8"),
        (1e-310, "f8"),
        (1e37, "f4"),
        (1e-37, "f4"),
        (1e20, "f4"),
        (1e-20, "f4"),
    ],
)
def test_no_cosine_depends_on_the_scale(scale, dtype, centre):
    rows = scene().astype(dtype)
    plain = sg.spectral_embedding(rows, nodes_per_image=15, centre=centre, **OPTIONS)
    found = sg.spectral_embedding(rows * np.array(scale, dtype), nodes_per_image=15, centre=centre, **OPTIONS)
    np.testing.assert_allclose(found.eigenvalues, plain.eigenvalues, atol=1e-5)


@pytest.mark.parametrize("offset", [1e5, 1e7, 1e8, -1e10])
@pytest.mark.parametrize("form", ["float64", "map of float64", "lazy float64", "torch float64", "list of rows"])
def test_the_mean_of_float64_is_subtracted_before_it_is_rounded(form, offset, plain, tmp_path):
    make = SAME.get(form, lambda rows, folder: rows)
    found = sg.spectral_embedding(make(scene().astype(np.float64) + offset, tmp_path), nodes_per_image=15, **OPTIONS)
    np.testing.assert_allclose(found.eigenvalues, plain.eigenvalues, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 5),
    st.floats(-1e12, 1e12),
    st.integers(-200, 200),
    st.booleans(),
    st.integers(0, 99),
)
def test_scaled_rows_have_the_directions_of_exact_arithmetic(nodes, depth, offset, power, centre, seed):
    generator = np.random.default_rng(seed)
    spread = generator.standard_normal((nodes, depth)) + offset
    rows = np.ldexp(spread, power)
    found, mean = ready_rows(rows, centre, "rows")
    assert mean is None and found.dtype == np.float32 and found.shape == rows.shape
    exact = spread.astype(np.longdouble)
    exact = exact - exact.mean(axis=0) * centre
    lengths = np.linalg.norm(exact, axis=1)
    clear = lengths > 1e-7 * (1 + abs(offset)) if centre else lengths > 0
    which = np.flatnonzero(clear)
    got = found.read(which).astype(np.float64)
    unit = got / np.linalg.norm(got, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, (exact[which] / lengths[which, None]).astype(np.float64), atol=1e-6)


@pytest.mark.parametrize("value", [1.0, 0.1, 1 / 3, 1e8 / 3, 1e300 / 7, -1e-5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_vectors_are_zero_once_centred(value, dtype):
    rows = np.full((5000, 3), min(value, 1e30), dtype)
    found, mean = ready_rows(rows, True, "rows")
    left = found.read(slice(0, 5000)) - (0 if mean is None else mean)
    assert not left.any()
    with pytest.raises(SolverError, match=r"no edges.*all equal"):
        sg.spectral_embedding(rows[:60], nodes_per_image=15, **OPTIONS)


@pytest.mark.parametrize(
    "images",
    [0, -5, 7, True, False, 15.0, 15.5, "15", b"15", np.nan, [0, 30], [0, 15, 15, 60], [5, 60], [0, 61], [60, 0],
     [0.0, 60.0], [], [0], [[0, 60]], [0, None, 60], [0, [1], 60], [True, False], np.array(0), np.array(4.0), object(),
     {"a": 1}, (0,),
     np.ma.MaskedArray([0, 30, 60], mask=[0, 1, 0]), torch.tensor([0.0, 60.0]), np.zeros(60, int)],
    ids=lambda images: "object" if type(images) is object else str(images),
)  # fmt: skip
def test_images_that_do_not_fit_are_named(images):
    for name in ("nodes_per_image", "image_ptr"):
        with pytest.raises(FeatureError, match=f"`{name}"):
            sg.spectral_embedding(scene(), **{name: images}, **OPTIONS)


def test_images_of_several_forms():
    expected = np.array([0, 15, 30, 45, 60])
    counts = [15, np.int32(15), np.uint8(15), np.array(15), torch.tensor(15)]
    pointers = [expected, expected.tolist(), tuple(expected), expected.astype(np.uint8), expected.astype(">i4")]
    for starts in (
        *(first_nodes(60, nodes_per_image=count) for count in counts),
        *(first_nodes(60, image_ptr=pointer) for pointer in [*pointers, torch.from_numpy(expected)]),
    ):
        assert starts.dtype == np.int64 and np.array_equal(starts, expected)
    with pytest.raises(FeatureError, match="`nodes_per_image` and `image_ptr`"):
        first_nodes(60, 15, expected)


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"c_inter": -1}, ConfigError, "c_inter"),
        ({"c_intra": "x"}, ConfigError, "c_intra"),
        ({"c_intra": None}, ConfigError, "c_intra"),
        ({"c_intra": 0, "c_inter": 0}, ConfigError, "c_intra"),
        ({"c_intra": 15}, GraphError, "c_intra"),
        ({"c_inter": 46}, GraphError, "c_inter"),
        ({"threshold": np.nan}, ConfigError, "threshold"),
        ({"threshold": 1.0}, ConfigError, "threshold"),
        ({"sharpen": np.inf}, ConfigError, "sharpen"),
        ({"sharpen": 0}, ConfigError, "sharpen"),
        ({"recall": np.nan}, ConfigError, "recall"),
        ({"recall": 1}, ConfigError, "recall"),
        ({"hub_cap": -np.inf}, ConfigError, "hub_cap"),
        ({"tol": np.nan}, ConfigError, "tol"),
        ({"n_components": 61}, SolverError, "n_components"),
        ({"n_components": 2.5}, ConfigError, "n_components"),
        ({"hubs": "sinkhorm"}, ConfigError, "hubs"),
        ({"neighbours": "cell"}, ConfigError, "neighbours"),
        ({"normalisation": "symmetrc"}, ConfigError, "normalisation"),
        ({"device": "tpu"}, ConfigError, "device"),
        ({"device": "cuda:77"}, ConfigError, "device"),
        ({"scratch": "/nowhere/at/all"}, ConfigError, "scratch"),
        ({"seed": -1}, ConfigError, "seed"),
    ],
)
def test_options_are_named_as_python_has_them(options, error, name):
    with pytest.raises(error, match=name) as refused:
        sg.spectral_embedding(scene(), nodes_per_image=15, **{**OPTIONS, **options})
    assert "--" not in str(refused.value)


def test_too_many_neighbours_without_images_say_nothing_of_images():
    with pytest.raises(GraphError, match=r"c_intra.*c_inter") as refused:
        sg.spectral_embedding(scene(6), **OPTIONS)
    assert "image" not in str(refused.value) and "5 neighbours among 6 nodes" in str(refused.value)
    sg.spectral_embedding(scene(8), **{**OPTIONS, "n_components": 8})


def test_a_full_disk_is_told_with_the_cure_of_this_call(monkeypatch, tmp_path):
    from spectral_graph.io.files import require_space

    def full(*_):
        require_space(tmp_path, 1 << 60, "scratch files")

    monkeypatch.setattr("spectral_graph.embed.build_graph", full)
    with pytest.raises(DiskFullError, match=r"scratch files need.*`scratch`|scratch files.*`scratch`") as refused:
        sg.spectral_embedding(scene(), nodes_per_image=15, **OPTIONS)
    assert "`out`" not in str(refused.value) and "limit" not in str(refused.value)


def test_isolated_nodes_and_components_are_counted_and_warned_of():
    rows = np.zeros((60, 6), np.float32)
    rows[:20, :2] = 1 + scene(20, 2) * 0.1
    rows[20:40, 2:4] = 1 + scene(20, 2) * 0.1
    with pytest.warns(SpectralGraphWarning, match=r"20.*60") as warned:
        found = sg.spectral_embedding(rows, **{**OPTIONS, "centre": False, "hubs": "none", "threshold": 0.2})
    assert warned[0].filename == __file__ and len(warned) == 1
    assert np.array_equal(found.isolated, np.arange(40, 60)) and found.components == 22
    np.testing.assert_allclose(found.eigenvalues[:3] > 0.9999, [True, True, False])


def test_a_layer_that_joins_a_node_takes_it_from_the_isolated():
    rows = scene()
    lonely = rows.copy()
    lonely[7] = 0
    options = {**OPTIONS, "centre": False, "threshold": 0.0, "c_inter": 10}
    with pytest.warns(SpectralGraphWarning, match="1 of 60"):
        assert sg.spectral_embedding([lonely], nodes_per_image=15, **options).isolated.tolist() == [7]
    found = sg.spectral_embedding([lonely, rows], nodes_per_image=15, **options)
    assert found.isolated.tolist() == [] and found.recall.tolist() == [1, 1] and found.recall_asked == 0.95


def test_recall_and_residuals_that_fall_short_are_warned_of(monkeypatch):
    options = {**OPTIONS, "tol": 1e-6, "degree": 2, "max_rounds": 1}
    with pytest.warns(SpectralGraphWarning, match=r"above tol=1e-06"):
        found = sg.spectral_embedding(scene(300), nodes_per_image=15, **options)
    assert not found.converged and found.residuals.max() > 1e-6

    from spectral_graph.graph.layer_lists import LayerLists

    outside = LayerLists.outside

    def poor(self, *arguments):
        inter, facts = outside(self, *arguments)
        return inter, {**facts, "recall": 0.5}

    monkeypatch.setattr(LayerLists, "outside", poor)
    with pytest.warns(SpectralGraphWarning, match=r"layer 0 found 0\.500.*0\.95"):
        found = sg.spectral_embedding([scene(), scene(seed=1)], nodes_per_image=15, **OPTIONS)
    assert found.recall.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("nodes", [2, 3, 5, 60])
def test_as_many_eigenvectors_as_nodes(nodes):
    rows = np.random.default_rng(0).standard_normal((nodes, 8)).astype(np.float32)
    rows = np.abs(rows) if nodes < 60 else rows  # so that few vectors have neighbours, too
    options = {
        "neighbours": "exact",
        "hubs": "none",
        "sharpen": 1.0,
        "threshold": 0.0,
        "centre": nodes == 60,
        "tol": 1e-5,
    }
    counts = {"c_intra": min(2, nodes - 2), "c_inter": min(3, 1 + nodes // 4)}
    for channels in range(1, nodes + 1, 1 + nodes // 10):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = sg.spectral_embedding(rows, n_components=channels, **counts, **options)
        x = found.vectors.astype(np.float64)
        np.testing.assert_allclose(x.T @ x, np.eye(channels), atol=1e-5)
        assert found.converged and found.residuals.max() <= 1e-5
