"""What counts as a photo of a folder: formats, odd files, odd names, and results of this program."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.folder import ImageFolder
from spectral_graph.data.walk import SUFFIXES, photo_ids, walk
from spectral_graph.errors import DataError, ImageError
from spectral_graph.io.readable import readable

ODD = b"caf\xe9 \xff.png"


@pytest.fixture
def photos(tmp_path, write_photo) -> Path:
    write_photo(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def ids(root: Path) -> list[str]:
    return [record.id for record in ImageFolder(root).records]


@pytest.mark.parametrize(
    "files",
    [
        {"run.json": json.dumps({"stages": {}, "config": {}, "fingerprint": ""})},
        {"image.json": json.dumps({"options": {}, "versions": {}, "skipped": []})},
        {"run.json": "damaged", ".lock": ""},
        {"image.json": "{", ".lock": ""},
        {".remote.json": "{}"},
        {"index.html": '<!doctype html>\n<meta name="generator" content="spectral_graph">'},
        {"result.json": "{}", "result.npz": "", "labels.png": "", "regions.png": ""},
    ],
    ids=lambda files: "+".join(files),
)
def test_results_of_ours_are_no_photos(photos, write_photo, files):
    write_photo(photos / "deep" / "runs" / "more" / "b.png")
    for name, text in files.items():
        (photos / "deep" / "runs" / name).write_text(text)
    assert ids(photos) == ["a"]
    (sentence,) = open_dataset("folder", photos).left_out
    assert "deep/runs" in sentence and str(photos) in sentence
    with pytest.raises(DataError, match="runs"):
        ImageFolder(photos / "deep" / "runs")


@pytest.mark.parametrize(
    "files",
    [{"run.json": "{}"}, {"image.json": '{"options": {}}'}, {".lock": ""}, {"index.html": "<html>"}, {"run.json": "["}],
    ids=lambda files: "+".join(files),
)
def test_files_of_others_with_such_names_hide_no_photos(photos, files):
    for name, text in files.items():
        (photos / name).write_text(text)
    assert ids(photos) == ["a"]
    assert open_dataset("folder", photos).left_out == ()


def test_every_format_is_read_or_told_of(tmp_path, write_photo):
    for suffix in SUFFIXES:
        write_photo(tmp_path / f"of{suffix[1:]}{suffix.upper()}")
    dataset = ImageFolder(tmp_path)
    assert len(dataset.records) == len(SUFFIXES) and {".gif", ".avif", ".jp2", ".png"} <= set(SUFFIXES)
    for record in dataset.records:
        assert dataset.read_image(record).size == (8, 6), record.id
    for name in ("x.HEIC", "sub/y.heic", "raw.CR2", "film.mp4", "notes.txt", ".hidden.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (sentence,) = open_dataset("folder", tmp_path).left_out
    assert "4 files" in sentence and "2 .heic" in sentence and "1 .cr2" in sentence and "film.mp4" in sentence
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "z.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"z\.heic"):
        open_dataset("folder", tmp_path / "only")


def test_the_first_frame_of_a_film_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    dataset = ImageFolder(tmp_path)
    for record in dataset.records:
        assert np.asarray(dataset.read_image(record))[0, 0].tolist() == [250, 0, 0]


def test_what_is_no_regular_file_is_refused_by_name_and_does_not_hang(photos):
    os.mkfifo(photos / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(photos / "socket.png"))
        (photos / "device.png").symlink_to("/dev/zero")
        (photos / "loop.png").symlink_to("loop.png")
        (photos / "gone.png").symlink_to("nowhere")
        (photos / "empty.png").touch()
        (photos / "folder.png").mkdir()
        dataset = ImageFolder(photos)
        found = {}
        for record in dataset.records:
            try:
                dataset.read_image(record)
            except ImageError as error:
                found[record.id] = str(error)
    assert found.keys() == {"pipe", "socket", "device", "loop", "gone", "empty"}
    for name, words in found.items():
        assert f"{name}.png" in words
    assert "named pipe" in found["pipe"] and "device" in found["device"] and "socket" in found["socket"]


def test_a_label_map_that_is_a_pipe_is_refused(tmp_path, write_photo):
    write_photo(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    os.mkfifo(tmp_path / "labels" / "a.png")
    dataset = ImageFolder(tmp_path)
    with pytest.raises(ImageError, match="named pipe"):
        dataset.read_label(dataset.records[0])


def test_names_that_are_not_utf_8_have_ids_that_can_be_stored(photos):
    Image.new("RGB", (4, 4)).save(os.fsdecode(os.fsencode(photos) + b"/" + ODD))
    Image.new("RGB", (4, 4)).save(photos / "ärger.png")
    Image.new("RGB", (4, 4)).save(photos / "caf\\xe9 \\xff.png")
    found = ids(photos)
    assert len(set(found)) == 4 and {"a", "ärger"} < set(found) and found == sorted(found)
    assert json.loads(json.dumps(found)) == found
    for identity in found:
        identity.encode("utf-8")
    dataset = ImageFolder(photos)
    for record in dataset.records:
        dataset.read_image(record)


def test_a_file_has_one_name_in_every_locale():
    name = "é".encode() + b"\xff"
    assert readable(name.decode("utf-8", "surrogateescape")) == "é\\xff"
    assert readable(name.decode("ascii", "surrogateescape")) == "é\\xff"
    assert readable("a\ud800") == "a\\ud800"


@settings(deadline=None)
@given(st.sets(st.text("aB.\\x-é\udcff", min_size=1, max_size=4).map(lambda stem: f"{stem}.png"), max_size=8))
def test_ids_differ_and_do_not_depend_on_the_order(names):
    paths = [Path(name) for name in names]
    assert len(set(photo_ids(paths))) == len(paths)
    ordered = sorted(paths)
    assert dict(zip(paths, photo_ids(paths), strict=True)) == dict(zip(ordered, photo_ids(ordered), strict=True))


def test_stems_and_suffixes_do_not_mix(photos, write_photo):
    for name in ("a.jpg", "a.jpg.png"):
        write_photo(photos / name)
    assert ids(photos) == ["a.jpg", "a.jpg.png", "a.png"]


def test_folders_too_deep_for_recursion_and_many_files(tmp_path):
    folder = str(tmp_path)
    for _ in range(1100):
        folder += "/d"
        os.mkdir(folder)  # noqa: PTH102
    Path(folder, "a.png").touch()
    for index in range(3000):
        (tmp_path / f"{index}.png").touch()
    assert len(walk(tmp_path).files) == 3001
    subprocess.run(["rm", "-r", str(tmp_path / "d")], check=True)  # too deep for pytest to remove


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_told_of(photos):
    (photos / "closed").mkdir(mode=0)
    assert "closed" in open_dataset("folder", photos).left_out[0]


def test_the_root_may_be_a_link(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    assert ids(tmp_path / "link") == ["a"]
