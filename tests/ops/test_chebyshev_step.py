"""chebyshev_step_ against SciPy in float64, its fallback, and its complaints."""

import numpy as np
import pytest
import torch
from scipy import sparse

from spectral_graph.errors import GraphError
from spectral_graph.ops import chebyshev_step_
from spectral_graph.ops.library import FALLBACKS


def problem(rows=70, columns=90, channels=9, seed=0):
    generator = np.random.default_rng(seed)
    a = sparse.random(rows, columns, 0.1, "csr", np.float32, rng=generator)
    matrix = [torch.from_numpy(a.indptr.astype(np.int64)), torch.from_numpy(a.indices.astype(np.int32))]
    matrix.append(torch.from_numpy(a.data))
    dense = [generator.standard_normal((n, channels), np.float32) for n in (columns, rows, rows)]
    return a.astype(np.float64), matrix, [torch.from_numpy(part) for part in dense]


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16, 33, 80, 130])
@pytest.mark.parametrize("run", ["operator", "fallback"])
def test_equals_scipy(channels, run):
    a, matrix, (x, own, y) = problem(channels=channels)
    expected = 0.7 * (a @ x.double().numpy()) - 0.2 * own.double().numpy() + 1.3 * y.double().numpy()
    function = chebyshev_step_ if run == "operator" else FALLBACKS["chebyshev_step_"]
    function(*matrix, x, own, y, 0.7, -0.2, 1.3)
    np.testing.assert_allclose(y.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("run", ["operator", "fallback"])
def test_with_keep_zero_the_former_content_does_not_matter(run):
    a, matrix, (x, own, y) = problem()
    y.fill_(float("nan"))
    function = chebyshev_step_ if run == "operator" else FALLBACKS["chebyshev_step_"]
    function(*matrix, x, own, y, 2.0, 1.0, 0.0)
    np.testing.assert_allclose(y.numpy(), 2 * (a @ x.double().numpy()) + own.double().numpy(), atol=2e-5)


def test_threads_do_not_change_a_bit():
    _, matrix, (x, own, y) = problem(3000, 3000, 13)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            out = y.clone()
            chebyshev_step_(*matrix, x, own, out, 0.3, 0.1, -0.9)
            results.append(out)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_schema_and_fake_are_sound():
    _, matrix, (x, own, y) = problem()
    arguments = (*matrix, x, own, y, 0.3, 0.1, -0.9)
    torch.library.opcheck(
        torch.ops.spectral_graph.chebyshev_step_.default, arguments, test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.parametrize("run", ["operator", "fallback"])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"y": torch.zeros(3, 9)}, r"y must have the shape of A x, \(70, 9\), got \(3, 9\)"),
        ({"own": torch.zeros(70, 8)}, r"own must have the shape of A x, \(70, 9\), got \(70, 8\)"),
        ({"x": torch.zeros(90, 9, dtype=torch.float64)}, "x must be float32, got float64"),
        ({"indices": torch.full((630,), 90, dtype=torch.int32)}, r"indices must lie in \[0, 90\)"),
    ],
)
def test_wrong_arguments_are_refused(change, text, run):
    _, (indptr, indices, values), (x, own, y) = problem()
    given = {"indptr": indptr, "indices": indices, "values": values, "x": x, "own": own, "y": y} | change
    if "indices" in change:
        given["indices"] = torch.full_like(indices, 90)
    function = chebyshev_step_ if run == "operator" else FALLBACKS["chebyshev_step_"]
    with pytest.raises(GraphError, match=text):
        function(*given.values(), 1.0, 0.0, 0.0)
