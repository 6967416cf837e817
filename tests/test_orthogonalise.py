import numpy as np
import pytest

from spectral_graph.bank import Bank
from spectral_graph.errors import SolverError
from spectral_graph.orthogonalise import orthogonalise


def symmetric(n, seed):
    a = np.random.default_rng(seed).standard_normal((n, n)).astype(np.float32)
    return (a + a.T) / 2


def run(tmp_path, x, order, matrix=None):
    bank = Bank(tmp_path / "ortho", x.shape, ("X",), 1)

    def apply(source, out):
        out[:] = matrix @ source

    result = orthogonalise(x, bank, order, apply, tmp_path / "work")
    bank.commit()
    return np.array(bank.view()), result


def test_gram_order_is_u_s_of_the_svd(tmp_path):
    x = np.random.default_rng(0).standard_normal((500, 6)).astype(np.float32) * np.array([1, 9, 3, 5, 2, 7], np.float32)
    found, result = run(tmp_path, x, "gram")
    u, s, _ = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    expected = u * s
    expected *= np.sign(expected[np.abs(expected).argmax(axis=0), np.arange(6)])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(result.eigenvalues, s**2, rtol=1e-6)
    assert result.off_diagonal < 1e-6


def test_ritz_order_is_rayleigh_ritz_in_the_span(tmp_path):
    x = np.random.default_rng(1).standard_normal((60, 5)).astype(np.float32)
    matrix = symmetric(60, 2)
    found, result = run(tmp_path, x, "ritz", matrix)
    q, _ = np.linalg.qr(x.astype(np.float64))
    np.testing.assert_allclose(result.eigenvalues, np.linalg.eigvalsh(q.T @ matrix @ q)[::-1], atol=1e-4)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(found.T @ matrix @ found, np.diag(result.eigenvalues), atol=1e-4)


@pytest.mark.parametrize("order", ["gram", "ritz"])
def test_columns_that_repeat_give_zero_columns(tmp_path, order):
    x = np.random.default_rng(1).standard_normal((60, 3)).astype(np.float32)
    found, result = run(tmp_path, np.c_[x, x[:, :1]], order, symmetric(60, 2))
    assert np.isfinite(found).all()
    assert result.off_diagonal < 1e-5


def test_nan_is_refused(tmp_path):
    x = np.ones((20, 2), np.float32)
    x[3, 1] = np.nan
    with pytest.raises(SolverError, match="NaN or infinity"):
        run(tmp_path, x, "gram")
