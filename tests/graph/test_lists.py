"""Working files between search and graph: what damages them is noticed, and they are made again."""

from itertools import pairwise

import numpy as np
import pytest
from layer_graph import build, dense_of, vectors

from spectral_graph.errors import FormatError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.lists import ListFiles, Transposed, is_whole, read_part, write_parts
from spectral_graph.graph.selection import Selection

DAMAGES = {
    "empty": lambda raw: b"",
    "head only": lambda raw: raw[:20],
    "cut": lambda raw: raw[: 3 * len(raw) // 4],
    "last byte cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
    "zeroed": lambda raw: bytes(len(raw)),
    "zeroed end": lambda raw: raw[: len(raw) // 2] + bytes(len(raw) - len(raw) // 2),
    "another file": lambda raw: b"\x93NUMPY\x01\x00" + raw,
}


def flip(bit):
    def damage(raw):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return damage


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "a" / "x.lists"
    parts = [(np.arange(5), np.ones(3, np.float32)), (), (np.arange(7, dtype=np.int32),)]
    write_parts(path, parts)
    assert is_whole(path, 3) and not is_whole(path, 2) and not is_whole(path.with_name("y"), 3)
    assert [file.name for file in path.parent.iterdir()] == ["x.lists"]
    for index, part in enumerate(parts):
        assert read_part(path, index).tobytes() == b"".join(array.tobytes() for array in part)
    with pytest.raises(FormatError, match=str(path)):
        read_part(path, 3)
    path.write_bytes(damage(path.read_bytes()))
    assert not is_whole(path, 3)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "x.spill"
    parts = [(np.arange(3),), (np.arange(4, dtype=np.int32), np.ones(4, np.float32))]
    write_parts(path, parts)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        path.write_bytes(flip(bit)(whole))
        assert not is_whole(path, 2), bit
        for index, part in enumerate(parts):
            try:
                found = read_part(path, index).tobytes()
            except FormatError as error:
                assert str(path) in str(error)
            else:
                assert found == b"".join(array.tobytes() for array in part)


def test_lists_and_their_transpose_come_back(tmp_path):
    bounds = np.array([0, 4, 4, 9])
    generator = np.random.default_rng(0)
    dense = np.where(generator.random((9, 9)) < 0.4, generator.random((9, 9)), 0).astype(np.float32)
    dense[2] = 0
    files = ListFiles(tmp_path / "lists", bounds)
    for index, (start, stop) in enumerate(pairwise(bounds)):
        part = dense[start:stop]
        indptr = np.r_[0, np.cumsum((part > 0).sum(1))]
        files.write(index, CsrRows(indptr, np.nonzero(part)[1].astype(np.int32), part[part > 0]))
    assert files.complete
    transposed = Transposed(files, tmp_path / "back")
    transposed.spill()
    for index, (start, stop) in enumerate(pairwise(bounds)):
        assert np.array_equal(files.read(index).to_scipy(9).toarray(), dense[start:stop])
        assert np.array_equal(transposed.read(index).to_scipy(9).toarray(), dense.T[start:stop])
    (tmp_path / "lists" / "000000.lists").write_bytes(b"")
    with pytest.raises(FormatError, match=r"000000\.lists"):
        files.read(0)
    assert not files.complete


@pytest.mark.parametrize("hubs", ["none", "cap", "csls", "sinkhorn"])
@pytest.mark.parametrize("damage", ["empty", "cut", "zeroed", "zeroed end", "flipped"])
def test_a_resumed_build_makes_damaged_files_again(tmp_path, hubs, damage):
    """After a loss of power every file of an interrupted build may be of its full size, or none, and hold zeros."""
    image_ptr = np.arange(0, 31, 5)
    query, key = vectors(30, 4, 5, hub=True), vectors(30, 4, 6, hub=True)
    selection = Selection(2, 2, 0.0, 8.0, hubs, 1.0)
    expected = dense_of(build(tmp_path / "whole", query, key, image_ptr, selection, 7), "blocks/a", 30)
    store = build(tmp_path / "broken", query, key, image_ptr, selection, 7, stop_after=1)
    files = [path for path in (tmp_path / "broken" / "work").rglob("*") if path.suffix in (".lists", ".spill")]
    assert {path.suffix for path in files} == {".lists", ".spill"}
    for path in files:
        raw = path.read_bytes()
        path.write_bytes(flip(8 * len(raw) - 20)(raw) if damage == "flipped" else DAMAGES[damage](raw))
    store = build(tmp_path / "broken", query, key, image_ptr, selection, 7, store=store)
    np.testing.assert_array_equal(dense_of(store, "blocks/a", 30), expected)


def test_a_file_is_forced_to_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    forced = []

    def fsync(fd):
        forced.append((tmp_path / "x.lists").exists())

    monkeypatch.setattr("os.fsync", fsync)
    write_parts(tmp_path / "x.lists", [(np.arange(3),)])
    assert forced == [False, True]  # the file, then the folder that names it
