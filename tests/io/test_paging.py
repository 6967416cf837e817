"""Passes in windows: the bits of a pass in memory, files written, memory released."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_graph.io.paging as paging
from spectral_graph.errors import FormatError
from spectral_graph.io.direct_read import read_direct
from spectral_graph.io.paging import Pager, exceed_memory
from spectral_graph.solve.streaming import gram_matrices, gram_matrix, random_rows, rotate_into, row_parts

ROWS, WIDTH = 200_000, 7

pytestmark = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="windows are for Linux")


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(paging, "left_bytes", lambda: 1 << 20)
    monkeypatch.setattr(paging, "PIECE", 1 << 16)


@pytest.fixture
def mapped(tmp_path):
    return lambda name: np.memmap(tmp_path / name, np.float32, "w+", shape=(ROWS, WIDTH))


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_passes_over_mapped_rows_have_the_bits_of_memory(little, mapped):
    expected, x, out = np.empty((ROWS, WIDTH), np.float32), mapped("x"), mapped("out")
    assert exceed_memory(x) and not exceed_memory(expected)
    random_rows(expected, 3, 1)
    random_rows(x, 3, 1)
    np.testing.assert_array_equal(x, expected)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
    rotate_into(x, turn, out)
    in_memory = np.empty_like(expected)
    rotate_into(expected, turn, in_memory)
    np.testing.assert_array_equal(out, in_memory)
    both = gram_matrices(x, out)
    np.testing.assert_array_equal(both, gram_matrices(expected, in_memory))
    np.testing.assert_array_equal(both, [gram_matrix(x), gram_matrix(x, out), gram_matrix(out)])
    np.testing.assert_allclose(both[1], x.astype(np.float64).T @ out.astype(np.float64), rtol=1e-6)
    rotate_into(x, turn, x)
    np.testing.assert_array_equal(x, in_memory)


def test_a_pass_may_read_one_array_and_change_a_part_of_another(little, mapped):
    x, y, plain = mapped("x"), mapped("y"), np.arange(ROWS, dtype=np.float32)[:, None]
    x[:], y[:] = 1, 2
    for part, kept, own, into in row_parts([x, y, plain], [y]):
        assert np.shares_memory(kept, into)
        into[:, 3:] += part[:, 3:] + own
    expected = np.full((ROWS, WIDTH), 2, np.float32)
    expected[:, 3:] += 1 + plain
    np.testing.assert_array_equal(y, expected)
    assert (x == 1).all()


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_rows_of_a_file_are_read_and_written_and_no_others(tmp_path_factory, data):
    rows, width = data.draw(st.integers(1, 4000)), data.draw(st.integers(1, 9))
    first = data.draw(st.integers(0, rows - 1))
    stop, offset = data.draw(st.integers(first + 1, rows)), 4 * data.draw(st.integers(0, 3000))
    file = tmp_path_factory.mktemp("paging") / "rows"
    before = np.random.default_rng(0).standard_normal(offset // 4 + rows * width).astype(np.float32)
    before.tofile(file)
    view = np.memmap(file, np.float32, "r+", offset, (rows, width))[first:stop]
    steps = [*sorted(data.draw(st.sets(st.integers(1, stop - first)))), stop - first]
    loads = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging, "left_bytes", lambda: 0)
        patch.setattr(paging, "PIECE", data.draw(st.sampled_from([4096, 8192, 1 << 16])))
        with Pager(view) as pager:
            (window,) = pager.arrays
            assert not np.may_share_memory(window, view)
            pager.begin([loads], [True])
            begin = 0
            for end in steps:
                pager.reach(end)
                if loads:
                    window[begin:end] *= 2
                else:
                    assert (window[begin:end] == 0).all()
                    window[begin:end] = 2 * view[begin:end]
                pager.finished(end)
                begin = end
    expected = before.copy()
    expected[offset // 4 :].reshape(rows, width)[first:stop] *= 2
    np.testing.assert_array_equal(np.fromfile(file, np.float32), expected)


def test_memory_behind_a_pass_is_released(monkeypatch, tmp_path):
    monkeypatch.setattr(paging, "left_bytes", lambda: 256 << 20)
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(1 << 21, 24))
    before, most = resident_bytes(), 0
    with Pager(x) as pager:
        pager.begin([False], [True])
        for stop in range(1 << 15, len(x) + 1, 1 << 15):
            pager.arrays[0][stop - (1 << 15) : stop] = np.arange(stop - (1 << 15), stop)[:, None]
            pager.finished(stop)
            most = max(most, resident_bytes() - before)
    assert most < x.nbytes / 3
    assert (x[::1000, 5] == np.arange(0, len(x), 1000)).all()


def test_changes_of_a_pass_without_stores_are_not_written(little, mapped):
    x, y = mapped("x"), mapped("y")
    x[:], y[:] = 1, 2
    with Pager(x, y) as pager:
        for stores in ([False, True], [False, False]):
            pager.begin([True, True], stores)
            pager.reach(ROWS)
            for window in pager.arrays:
                window += 1
            pager.finished(ROWS)
    assert (x == 1).all() and (y == 3).all()


def test_a_pass_that_fails_leaves_its_error_and_no_zeros(little, mapped):
    x = mapped("x")
    x[:] = 1
    with pytest.raises(ZeroDivisionError):
        for part, _ in row_parts([x], [x]):
            part[:] = 1 / 0
    assert (x == 1).all()


def test_arrays_without_a_separate_file_get_no_window(little, mapped):
    x, plain = mapped("x"), np.zeros((ROWS, WIDTH), np.float32)
    with Pager(plain, x[:, 2:], x) as pager:
        assert all(there is here for there, here in zip(pager.arrays, (plain,), strict=False))
    with Pager(x, x[:100]) as pager:
        assert pager.arrays[0] is x
    with Pager(x, when=False) as pager:
        assert pager.arrays[0] is x
    with Pager(plain, x) as pager:
        assert pager.arrays[0] is plain and pager.arrays[1] is not x


def test_rows_that_fit_into_memory_get_no_window(mapped):
    x = mapped("x")
    with Pager(x) as pager:
        assert pager.arrays[0] is x
        pager.begin([True], [True])
        pager.reach(10)
        pager.finished(ROWS)


def test_without_an_address_range_the_memory_map_is_used(little, mapped, monkeypatch):
    x = mapped("x")

    def refuse(*_, **__):
        raise OSError(12, "no memory")

    monkeypatch.setattr(paging.mmap, "mmap", refuse)
    with Pager(x) as pager:
        assert pager.arrays[0] is x


def test_a_truncated_file_raises_format_error(little, mapped, tmp_path):
    x = mapped("x")
    os.truncate(tmp_path / "x", 1 << 17)
    with pytest.raises(FormatError, match=r"/x .*131072"):
        gram_matrix(x)


def test_a_full_disk_raises_disk_full_error(little, mapped, monkeypatch):
    from spectral_graph.errors import DiskFullError

    x = mapped("x")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paging.os, "pwrite", full)
    with pytest.raises(DiskFullError, match="No space left"):
        random_rows(x, 0, 1)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 << 20])
def test_direct_reads_return_the_content(tmp_path, size):
    content = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    content.tofile(tmp_path / "file")
    np.testing.assert_array_equal(read_direct(tmp_path / "file"), content)
    with pytest.raises(FileNotFoundError):
        read_direct(tmp_path / "other")
