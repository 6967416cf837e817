"""Rows that memory does not hold: the same bits, the pages let go, and what there is of memory."""

import os

import numpy as np
import pytest

import spectral_graph.memory as memory
import spectral_graph.solve.paging as paging
from spectral_graph.solve.paging import Pager
from spectral_graph.solve.streaming import gram_matrices, gram_matrix, paged, random_rows, rotate_into

ROWS, WIDTH = 200_000, 7


def is_cached(file, offset):
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("whether a page is in memory can be asked on Linux only")
    with file.open("rb") as handle:
        try:
            return os.preadv(handle.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False
        except OSError:
            pytest.skip("this file system does not tell whether a page is in memory")


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(paging, "limit_bytes", lambda: 0)
    monkeypatch.setattr(paging, "LAG_BYTES", 1 << 20)


@pytest.fixture
def mapped(tmp_path):
    return lambda name: np.memmap(tmp_path / name, np.float32, "w+", shape=(ROWS, WIDTH))


def test_passes_over_mapped_rows_have_the_bits_of_memory(little, mapped):
    expected, x, out = np.empty((ROWS, WIDTH), np.float32), mapped("x"), mapped("out")
    random_rows(expected, 3, 1)
    random_rows(x, 3, 1)
    np.testing.assert_array_equal(x, expected)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
    rotate_into(x, turn, out)
    in_memory = np.empty_like(expected)
    rotate_into(expected, turn, in_memory)
    np.testing.assert_array_equal(out, in_memory)
    both = gram_matrices(x, out)
    np.testing.assert_array_equal(both, [gram_matrix(x), gram_matrix(x, out), gram_matrix(out)])
    np.testing.assert_allclose(both[1], x.astype(np.float64).T @ out.astype(np.float64), rtol=1e-6)


def test_finished_rows_are_written_and_leave_memory(little, mapped, tmp_path):
    x = mapped("x")
    for rows in paged(x):
        x[rows] = np.arange(rows.start, rows.stop)[:, None]
    middle = (ROWS // 2) * WIDTH * 4
    assert not is_cached(tmp_path / "x", middle)
    assert (x[:, 3] == np.arange(ROWS)).all()
    assert is_cached(tmp_path / "x", middle)


def test_views_of_a_map_are_found_in_its_file(little, mapped, tmp_path):
    x = mapped("x")
    x[:] = 1
    view = x.reshape(-1)[WIDTH * 1000 :].reshape(-1, WIDTH)
    with Pager(view) as pager:
        pager.finished(50_000, 150_000)
    assert is_cached(tmp_path / "x", 50_000 * WIDTH * 4)
    assert not is_cached(tmp_path / "x", 100_000 * WIDTH * 4)
    assert (x == 1).all()
    with Pager(view) as pager:
        pager.begin()
        pager.ahead(len(view))
    assert (view == 1).all()


def test_rows_that_memory_holds_stay(mapped, tmp_path, monkeypatch):
    x = mapped("x")
    for rows in paged(x):
        x[rows] = 1
    assert is_cached(tmp_path / "x", (ROWS // 2) * WIDTH * 4)
    monkeypatch.setattr(paging, "limit_bytes", lambda: 0)
    plain = np.zeros((ROWS, WIDTH), np.float32)
    with Pager(plain) as pager:
        pager.ahead(10)
        pager.finished(0, ROWS)


@pytest.mark.parametrize(
    ("line", "folder", "file"), [("4:memory:/a/b", "memory/a", "limit_in_bytes"), ("0::/a/b", "a", "max")]
)
def test_the_least_limit_above_counts(tmp_path, monkeypatch, line, folder, file):
    (tmp_path / "groups").write_text(f"9:cpu:/x\n{line}\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_ROOT", tmp_path / "root")
    machine = memory.limit_bytes()
    assert machine > 1 << 28
    (tmp_path / "root" / folder / "b").mkdir(parents=True)
    (tmp_path / "root" / folder / "b" / f"memory.{file}").write_text("max\n")
    assert memory.limit_bytes() == machine
    (tmp_path / "root" / folder / f"memory.{file}").write_text("123456\n")
    assert memory.limit_bytes() == 123456
