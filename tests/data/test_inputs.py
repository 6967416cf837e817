"""What counts as the same input: contents, not sizes, times or places."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spectral_graph.data import inputs, open_dataset
from spectral_graph.data.inputs import Digests, labels_fingerprint, photos_fingerprint, weights_fingerprint
from spectral_graph.data.read_ahead import read_ahead
from spectral_graph.progress import Reporter

QUIET = Reporter(quiet=True)


@pytest.fixture
def root(tmp_path, write_photo, write_map) -> Path:
    root = tmp_path / "data"
    for seed, name in enumerate("abc"):
        write_photo(root / "images" / f"{name}.bmp", seed=seed)
    write_map(root / "labels" / "a.png", np.zeros((6, 8)))
    write_map(root / "labels" / "b.png", np.ones((6, 8)))
    (root / "classes.txt").write_text("sky\ntree\n")
    return root


def fingerprints(root: Path, table: Path | None = None, **options) -> tuple[str, str]:
    digests = Digests(table or root.parent / "none")
    dataset = open_dataset("folder", root, **options)
    found = photos_fingerprint(dataset, digests, QUIET), labels_fingerprint(dataset, digests, QUIET)
    if table is not None:
        digests.save()
    return found


def replace_unseen(path: Path, data: bytes) -> None:
    """Give a file other content of the same size and the same time of change."""
    about = path.stat()
    assert len(data) == about.st_size and data != path.read_bytes()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def age(root: Path, monkeypatch) -> None:
    """Let the files be older than what `Digests` takes for settled."""
    monkeypatch.setattr(inputs, "_SETTLED", -1)


def test_a_photo_of_equal_size_and_time_is_noticed(root, tmp_path, monkeypatch):
    age(root, monkeypatch)
    table = tmp_path / "table.json"
    photos, labels = fingerprints(root, table)
    photo = root / "images" / "a.bmp"
    replace_unseen(photo, photo.read_bytes()[:-1] + bytes([photo.read_bytes()[-1] ^ 1]))
    after = fingerprints(root, table)
    assert after[0] != photos and after[1] == labels


@pytest.mark.parametrize("change", ["classes", "map", "added", "removed"])
def test_labels_are_apart_from_photos(root, tmp_path, write_map, change):
    photos, labels = fingerprints(root)
    if change == "classes":
        replace_unseen(root / "classes.txt", b"sea\ntree\n")
    elif change == "map":
        write_map(root / "labels" / "a.png", np.ones((6, 8)))
    elif change == "added":
        write_map(root / "labels" / "c.png", np.ones((6, 8)))
    else:
        (root / "labels" / "a.png").unlink()
    after = fingerprints(root)
    assert after[0] == photos and after[1] != labels


@pytest.mark.parametrize("change", ["removed", "renamed", "added", "swapped", "limit", "damaged"])
def test_photos_count_with_their_names(root, write_photo, change):
    photos, _ = fingerprints(root)
    folder = root / "images"
    if change in ("removed", "damaged"):
        (folder / "c.bmp").unlink()
    if change == "damaged":
        os.mkfifo(folder / "c.bmp")
    elif change == "renamed":
        (folder / "c.bmp").rename(folder / "d.bmp")
    elif change == "added":
        write_photo(folder / "d.bmp")
    elif change == "swapped":
        for before, after in (("a", "x"), ("b", "a"), ("x", "b")):
            (folder / f"{before}.bmp").rename(folder / f"{after}.bmp")
    assert fingerprints(root, limit=2 if change == "limit" else None)[0] != photos


def test_moved_and_copied_data_are_the_same(root, tmp_path):
    before = fingerprints(root)
    shutil.copytree(root, tmp_path / "copy")
    root.rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    for name in ("moved", "copy", "link"):
        assert fingerprints(tmp_path / name) == before


def test_the_orientation_counts_where_a_photo_is_turned(root, write_map):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("b", "c"):
        Image.new("RGB", (3, 2)).save(root / "images" / f"{name}.jpg", exif=exif)
        (root / "images" / f"{name}.bmp").unlink()
    photos, _ = fingerprints(root)
    (root / "labels" / "a.png").unlink()
    assert fingerprints(root)[0] == photos, "a photo without an orientation is the same with and without a label map"
    write_map(root / "labels" / "c.png", np.ones((3, 2)))
    assert fingerprints(root)[0] != photos


def test_only_what_changed_is_read_again(root, tmp_path, monkeypatch):
    read = []
    examine = inputs._examine
    monkeypatch.setattr(inputs, "_examine", lambda file: (read.append(file.key), examine(file))[1])
    table = tmp_path / "table.json"
    first = fingerprints(root, table)
    assert len(read) == 6
    fingerprints(root, table)
    assert len(read) == 12, "files that were written a moment ago may change within one tick of their clock"
    age(root, monkeypatch)
    fingerprints(root, table)
    read.clear()
    assert fingerprints(root, table) == first and read == []
    root.rename(tmp_path / "moved")
    assert fingerprints(tmp_path / "moved", table) == first and read == []
    (tmp_path / "moved" / "images" / "b.bmp").touch()
    assert fingerprints(tmp_path / "moved", table) == first and read == ["turned photo b"]
    for damage in (b"", b"{", b"[]", b'{"format": 1, "files": {"photo a": 7}}', b"\xff", b'{"format": 9, "files": {}}'):
        table.write_bytes(damage)
        assert fingerprints(tmp_path / "moved", table) == first


def test_weights_are_a_file_or_a_folder(tmp_path):
    digests = Digests(tmp_path / "none")
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "a.bin").write_bytes(b"1")
    (folder / "b.json").write_bytes(b"2")
    found = {weights_fingerprint(path, digests, QUIET) for path in (folder, folder / "b.json", None, tmp_path / "gone")}
    assert len(found) == 3 and "" in found
    before = weights_fingerprint(folder, digests, QUIET)
    (folder / "unet" / "a.bin").write_bytes(b"3")
    assert weights_fingerprint(folder, digests, QUIET) != before


def test_results_come_in_order_and_errors_in_place():
    def work(item: int) -> int:
        if item == 50:
            raise ValueError("fifty")
        return item * item

    results = read_ahead(work, range(100), 7)
    assert [next(results) for _ in range(50)] == [item * item for item in range(50)]
    with pytest.raises(ValueError, match="fifty"):
        next(results)
    assert list(read_ahead(work, [], 7)) == []
    assert list(read_ahead(work, [1], 1)) == [1]


def test_a_call_that_never_returns_is_not_waited_for():
    stuck, end = threading.Event(), threading.Event()

    def work(item: int) -> int:
        if item == 1:
            stuck.set()
            end.wait()
        return item

    results = read_ahead(work, range(100), 4)
    assert next(results) == 0 and stuck.wait(10)
    results.close()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "read-ahead")
    end.set()
