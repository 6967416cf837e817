from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spectral_graph.data.coco import CocoPanoptic
from spectral_graph.data.labels import COARSE_CLASSES
from spectral_graph.data.sample import SAMPLE_FOLDER, Sample
from spectral_graph.errors import DataError, MissingDataError

LICENCES = {
    "CC BY 2.0": "http://creativecommons.org/licenses/by/2.0/",
    "CC BY-SA 2.0": "http://creativecommons.org/licenses/by-sa/2.0/",
    "No known copyright restrictions": "http://flickr.com/commons/usage/",
    "United States Government Work": "http://www.usa.gov/copyright.shtml",
}


def entries() -> list[dict]:
    return json.loads((SAMPLE_FOLDER / "sample.json").read_bytes())["images"]


def test_every_image_and_label_can_be_read():
    dataset = Sample()
    assert (dataset.name, dataset.split, dataset.classes) == ("coco", "sample", COARSE_CLASSES)
    assert len(dataset.records) == 26
    assert [r.id for r in dataset.records] == sorted(r.id for r in dataset.records)
    sizes = {e["id"]: (e["height"], e["width"]) for e in entries()}
    seen: set[int] = set()
    for record in dataset.records:
        label = dataset.read_label(record)
        image = dataset.read_image(record)
        assert label.dtype == np.int16 and label.shape == (image.height, image.width) == sizes[record.id]
        seen |= set(np.unique(label).tolist())
    assert seen <= set(range(-1, 27)) and len(seen) > 20


def test_every_photo_has_its_licence_and_source_and_no_file_is_unlisted():
    listed = {e["file"] for e in entries()} | {e["label"] for e in entries()} | {"sample.json", "README.md"}
    there = {p.relative_to(SAMPLE_FOLDER).as_posix() for p in SAMPLE_FOLDER.rglob("*") if p.is_file()}
    assert there == listed
    readme = (SAMPLE_FOLDER / "README.md").read_text()
    for entry in entries():
        assert LICENCES[entry["licence"]] == entry["licence_url"]
        assert entry["flickr_url"].startswith("http://farm") and entry["coco_url"].startswith(
            "http://images.cocodataset"
        )
        row = next(line for line in readme.splitlines() if entry["file"] in line)
        assert all(entry[key] in row for key in ("licence", "licence_url", "flickr_url"))
    assert "CC BY 4.0" in readme


def test_it_is_under_5_mb():
    assert sum(p.stat().st_size for p in SAMPLE_FOLDER.rglob("*") if p.is_file()) < 5_000_000


def test_photos_and_labels_are_those_of_coco(shared_data):
    coco = CocoPanoptic(shared_data / "coco", "train2017")
    source = json.loads(coco.annotations[0].read_bytes())
    allowed = {Path(i["file_name"]).stem: i for i in source["images"] if i["license"] in (4, 5, 7, 8)}
    urls = {licence["id"]: licence["url"] for licence in source["licenses"]}
    sample = Sample()
    assert {r.id for r in sample.records} == allowed.keys()
    records = {r.id: r for r in coco.records}
    for record in sample.records:
        assert record.image.read_bytes() == records[record.id].image.read_bytes()
        np.testing.assert_array_equal(sample.read_label(record), coco.read_label(records[record.id]))
    for entry in entries():
        image = allowed[entry["id"]]
        assert entry["licence_url"] == urls[image["license"]]
        assert (entry["flickr_url"], entry["coco_url"]) == (image["flickr_url"], image["coco_url"])


def test_the_tool_makes_the_same_folder(shared_data, tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "tools/make_sample.py", "--coco", str(shared_data / "coco"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env={"PYTHONPATH": str(root)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sample.json").read_bytes() == (SAMPLE_FOLDER / "sample.json").read_bytes()
    assert (tmp_path / "README.md").read_bytes() == (SAMPLE_FOLDER / "README.md").read_bytes()


def test_the_tool_says_what_is_missing(tmp_path):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "tools/make_sample.py", "--coco", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env={"PYTHONPATH": str(root)})
    assert done.returncode == 2
    assert "the split 'train2017' is missing" in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_or_missing_list(tmp_path):
    with pytest.raises(MissingDataError, match=r"sample\.json"):
        Sample(tmp_path)
    for text in ("{", "[]", '{"images": [{"id": "a"}]}', '{"images": 3}'):
        (tmp_path / "sample.json").write_text(text)
        with pytest.raises(DataError, match=r"sample\.json is damaged"):
            Sample(tmp_path)


def test_licence_of_each_photo_comes_with_the_records():
    sample = Sample()
    listed = {entry["id"]: entry for entry in entries()}
    for record in sample.records:
        assert sample.licence(record) == (listed[record.id]["licence"], listed[record.id]["flickr_url"])
