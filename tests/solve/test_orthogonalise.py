import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_graph.bank import Bank
from spectral_graph.errors import FormatError, SolverError
from spectral_graph.solve import bank_rows, passes
from spectral_graph.solve.orthogonalise import orthogonalise


def symmetric(n, seed):
    a = np.random.default_rng(seed).standard_normal((n, n)).astype(np.float32)
    return (a + a.T) / 2


def bank_of(path, x, dtype="float32", nodes_per_image=10):
    bank = Bank(path, x.shape, ("X",), nodes_per_image, dtype)
    bank.begin()["X"][:] = x
    bank.commit()
    return bank


def run(tmp_path, x, order, matrix=None, dtype="float32", name="ortho"):
    source = bank_of(tmp_path / "source", x, dtype) if not Bank.exists(tmp_path / "source") else None
    source = source or Bank.open(tmp_path / "source")
    target = Bank(tmp_path / name, x.shape, ("X",), source.nodes_per_image, dtype)

    def apply(rows, out):
        out[:] = matrix @ rows

    result = orthogonalise(source, target, order, apply, tmp_path / f"{name} work")
    target.commit()
    return target.read(0, target.n_images), result


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


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**16), st.floats(0, 5), st.floats(0, 0.999))
def test_columns_are_orthogonal_to_1e_5(tmp_path_factory, channels, seed, decades, overlap):
    """Columns of lengths that differ by decades and of directions that nearly agree."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((300, channels)) + 30 * overlap * generator.standard_normal((300, 1))
    x = (x * 10 ** generator.uniform(-decades / 2, decades / 2, channels)).astype(np.float32)
    found, result = run(tmp_path_factory.mktemp("o"), x, "gram")
    square = found.astype(np.float64).T @ found
    off = np.abs(square - np.diag(np.diag(square))).max() / np.diag(square).max()
    assert off < 1e-5
    assert result.off_diagonal == pytest.approx(off, abs=1e-12)


@pytest.mark.parametrize("order", ["gram", "ritz"])
def test_columns_that_repeat_give_zero_columns(tmp_path, order):
    x = np.random.default_rng(1).standard_normal((60, 3)).astype(np.float32)
    found, result = run(tmp_path, np.c_[x, x[:, :1]], order, symmetric(60, 2))
    assert np.isfinite(found).all()
    assert result.off_diagonal < 1e-5


@pytest.mark.parametrize("order", ["gram", "ritz"])
def test_bfloat16_is_the_rounding_of_the_float32_result(tmp_path, order):
    import ml_dtypes

    x = np.random.default_rng(1).standard_normal((2000, 5)).astype(ml_dtypes.bfloat16).astype(np.float32)
    matrix = symmetric(2000, 2)
    exact, _ = run(tmp_path / "f", x, order, matrix)
    found, result = run(tmp_path / "b", x, order, matrix, "bfloat16")
    np.testing.assert_array_equal(found, exact.astype(ml_dtypes.bfloat16).astype(np.float32))
    square = found.astype(np.float64).T @ found
    off = np.abs(square - np.diag(np.diag(square))).max() / np.diag(square).max()
    assert result.off_diagonal == pytest.approx(off, rel=1e-6)
    assert off < 2**-8


@pytest.mark.parametrize("order", ["gram", "ritz"])
def test_interrupted_at_every_chunk_ends_bit_identical(tmp_path, monkeypatch, order):
    x = np.random.default_rng(3).standard_normal((70, 4)).astype(np.float32)
    matrix = symmetric(70, 2)
    monkeypatch.setattr(bank_rows, "ROWS", 20)
    whole, result = run(tmp_path, x, order, matrix, name="whole")
    monkeypatch.setattr(passes, "SECONDS_BETWEEN_SAVES", -1.0)

    class Stop(Exception):
        pass

    reads = [0]
    original = Bank.read

    def stop_after(count):
        left = [count]

        def read(bank, *args, **kwargs):
            reads[0] += 1
            left[0] -= 1
            if left[0] < 0:
                raise Stop
            return original(bank, *args, **kwargs)

        monkeypatch.setattr(Bank, "read", read)

    stops = 0
    for attempt in range(60):
        stop_after(1 + attempt % 3)
        try:
            found, again = run(tmp_path, x, order, matrix, name="broken")
            break
        except Stop:
            stops += 1
    monkeypatch.setattr(Bank, "read", original)
    found, again = run(tmp_path, x, order, matrix, name="broken") if stops == 60 else (found, again)
    assert 5 <= stops < 60
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(again.eigenvalues, result.eigenvalues)
    assert again.off_diagonal == result.off_diagonal


def test_what_is_left_of_another_bank_or_damaged_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "SECONDS_BETWEEN_SAVES", -1.0)
    x = np.random.default_rng(3).standard_normal((70, 4)).astype(np.float32)
    first, _ = run(tmp_path, x, "gram")
    bank_of(tmp_path / "other", 2 * x)
    (tmp_path / "source").rename(tmp_path / "was")
    (tmp_path / "other").rename(tmp_path / "source")
    second, _ = run(tmp_path, x, "gram")
    np.testing.assert_array_equal(second, 2 * first)
    (tmp_path / "ortho work" / "passes.npz").write_bytes(b"PK\x03\x04 no archive")
    again, _ = run(tmp_path, x, "gram")
    np.testing.assert_array_equal(again, second)


def test_nan_is_refused(tmp_path):
    x = np.ones((20, 2), np.float32)
    x[3, 1] = np.nan
    with pytest.raises(SolverError, match="NaN or infinity"):
        run(tmp_path, x, "gram")


def test_damage_is_met_before_it_is_used(tmp_path):
    x = np.ones((40, 2), np.float32)
    file = bank_of(tmp_path / "source", x).path / "X.1.f32"
    raw = bytearray(file.read_bytes())
    raw[200] ^= 1
    file.write_bytes(raw)
    source = Bank.open(tmp_path / "source", verify=False)
    target = Bank(tmp_path / "ortho", x.shape, ("X",), 10)
    with pytest.raises(FormatError, match=r"X\.1\.f32.*2"):
        orthogonalise(source, target, "gram", lambda a, b: None, tmp_path / "work")
