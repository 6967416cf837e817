"""neighbours, normalise and eigenvectors against dense linear algebra, and against spectral_embedding."""

import warnings

import numpy as np
import pytest
from dense_graph import EXACT, best, dense_operator, scene, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import laplacian

import spectral_graph as sg
from spectral_graph.errors import ConfigError, FeatureError, GraphError, SolverError, SpectralGraphWarning

GRAPH = {"c_intra": 4, "c_inter": 5, "threshold": 0.1, "neighbours": "exact", "hubs": "none", "sharpen": 1.0}


def random_affinity(nodes, seed=0, density=0.1):
    upper = sparse.random(nodes, nodes, density, random_state=seed, format="csr")
    upper = sparse.triu(upper, 1)
    return sparse.csr_array(upper + upper.T)


@pytest.mark.parametrize("given", [{"nodes_per_image": 25}, {"image_ptr": [0, 10, 60, 100, 150]}, {}])
def test_neighbours_are_the_dense_affinity(given):
    rows = scene(6, 25)
    image = np.arange(150)
    if "nodes_per_image" in given:
        image = np.repeat(np.arange(6), 25)
    elif given:
        image = np.repeat(np.arange(4), np.diff(given["image_ptr"]))
    found = sg.neighbours(rows, **given, **GRAPH)
    cosine = unit(rows, True) @ unit(rows, True).T
    same = image[:, None] == image[None]
    c_intra, c_inter = (4, 5) if given else (0, 9)
    b = best(cosine, same & ~np.eye(150, dtype=bool), c_intra, 0.1) + best(cosine, ~same, c_inter, 0.1)
    assert found.format == "csr" and found.dtype == np.float32 and found.has_canonical_format
    np.testing.assert_allclose(found.toarray(), (b + b.T) / 2, atol=1e-6)


def test_queries_and_keys():
    query, key = scene(4, 20), scene(4, 20, seed=1)
    image = np.repeat(np.arange(4), 20)
    graph = sg.neighbours(sg.Layer(query, key), nodes_per_image=20, **GRAPH)
    operator = dense_operator([(query, key)], image, 4, 5, 0.1)
    np.testing.assert_allclose(sg.normalise(graph).toarray(), operator, atol=1e-6)


@pytest.mark.parametrize(
    "form", [sparse.csr_array, sparse.coo_matrix, sparse.csc_matrix, np.asarray, np.asfortranarray]
)
def test_normalise_equals_the_laplacian_of_scipy(form):
    affinity = random_affinity(80).toarray()
    affinity[7] = affinity[:, 7] = 0
    found = sg.normalise(form(affinity)).toarray()
    expected = np.eye(80) - laplacian(affinity, normed=True)
    expected[7, 7] = 0  # a node without edges has the degree 1 in SciPy
    np.testing.assert_allclose(found, expected, atol=1e-6)
    degree = affinity.sum(axis=1, keepdims=True)
    walk = np.divide(affinity, degree, out=np.zeros_like(affinity), where=degree > 0)
    np.testing.assert_allclose(sg.normalise(form(affinity), "random_walk").toarray(), (walk + walk.T) / 2, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(0, 99), st.floats(0.0, 0.3), st.data())
def test_eigenvectors_equal_dense_ones(nodes, seed, density, data):
    matrix = random_affinity(nodes, seed, density)
    k = data.draw(st.integers(1, min(nodes, 12)))
    if matrix.nnz == 0:
        with pytest.raises(SolverError):
            sg.eigenvectors(matrix, k)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sg.eigenvectors(sg.normalise(matrix), k, tol=1e-4)
    dense = sg.normalise(matrix).toarray().astype(np.float64)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(dense)[::-1][:k], atol=1e-4)
    residual = dense @ found.vectors - found.vectors * found.eigenvalues
    assert np.linalg.norm(residual, axis=0).max() < 2e-4 and found.residuals.max() <= 1e-4
    assert found.vectors.shape == (nodes, k) and found.vectors.dtype == np.float32


def test_the_steps_give_the_embedding():
    rows = scene(8, 40)
    found = sg.eigenvectors(sg.normalise(sg.neighbours(rows, nodes_per_image=40, **GRAPH)), 5, tol=1e-5)
    whole = sg.spectral_embedding(rows, 5, nodes_per_image=40, c_intra=4, c_inter=5, threshold=0.1, **EXACT)
    np.testing.assert_allclose(found.eigenvalues, whole.eigenvalues, atol=1e-5)
    np.testing.assert_allclose(np.abs((found.vectors * whole.vectors).sum(axis=0)), 1, atol=1e-3)


def test_more_rows_than_a_block(monkeypatch):
    monkeypatch.setattr("spectral_graph.graph.csr_operator.BLOCK_ROWS", 64)
    matrix = sg.normalise(random_affinity(500, density=0.02))
    found = sg.eigenvectors(matrix, 4, tol=1e-5)
    expected = sparse.linalg.eigsh(matrix.astype(float), 4, which="LA", return_eigenvectors=False)[::-1]
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-5)


def test_unconverged_vectors_and_missed_neighbours_warn():
    matrix = sg.normalise(random_affinity(600, density=0.02))
    with pytest.warns(SpectralGraphWarning, match="tol=1e-06"):
        sg.eigenvectors(matrix, 40, tol=1e-6, max_rounds=1)


BAD = {
    "a number": (3.0, GraphError),
    "a word": ("A", GraphError),
    "not square": (np.ones((3, 4)), GraphError),
    "no rows": (np.ones((0, 0)), GraphError),
    "three axes": (np.ones((3, 3, 3)), GraphError),
    "not symmetric": (sparse.csr_array(np.triu(np.ones((4, 4)))), GraphError),
    "NaN": (np.full((3, 3), np.nan), GraphError),
    "infinity": (np.full((3, 3), np.inf), GraphError),
    "complex": (np.ones((3, 3), complex), GraphError),
    "text": (np.full((2, 2), "x"), GraphError),
}


@pytest.mark.parametrize("case", BAD)
def test_matrices_that_are_none_are_refused(case):
    matrix, error = BAD[case]
    with pytest.raises(error, match=r"^A "):
        sg.normalise(matrix)
    with pytest.raises(error, match=r"^A "):
        sg.eigenvectors(matrix, 1)


def test_arguments_are_refused_by_name():
    matrix = random_affinity(30)
    with pytest.raises(GraphError, match="-1"):
        sg.normalise(-matrix / matrix.max())
    for k in (0, 31, -1, 2.5):
        with pytest.raises((ConfigError, SolverError), match=f"`k={k}`"):
            sg.eigenvectors(matrix, k)
    for state in (-1, "0", 1.5, True):
        with pytest.raises(ConfigError, match="`random_state="):
            sg.eigenvectors(matrix, 2, random_state=state)
    with pytest.raises(ConfigError, match="normalisation='cut'"):
        sg.normalise(matrix, "cut")
    with pytest.raises(ConfigError, match="`channels`"):
        sg.neighbours(scene(2, 10), channels=3)
    with pytest.raises(GraphError, match="2 layers"):
        sg.neighbours([scene(2, 10), scene(2, 10)])
    with pytest.raises(FeatureError, match="Layer"):
        sg.neighbours((scene(2, 10), scene(2, 10)))


def test_random_state_is_a_seed():
    rows = scene(10, 30)
    one, two, other = (sg.spectral_embedding(rows, 4, nodes_per_image=30, random_state=s).vectors for s in (3, 3, 4))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    generators = [np.random.default_rng(1) for _ in range(2)]
    a, b = (sg.spectral_embedding(rows, 4, nodes_per_image=30, random_state=g).vectors for g in generators)
    assert np.array_equal(a, b)
    sg.spectral_embedding(rows, 4, nodes_per_image=30, random_state=None)
    sg.spectral_embedding(rows, 4, nodes_per_image=30, random_state=np.random.RandomState(0))
