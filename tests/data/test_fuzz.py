"""Annotation files, lists and sample.json changed at random: a data set that works, or an error of ours."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectral_graph.data import open_dataset
from spectral_graph.data.dataset import Dataset
from spectral_graph.data.sample import Sample
from spectral_graph.errors import ImageError, SpectralGraphError

PANOPTIC = {
    "images": [{"id": 1, "file_name": "1.jpg", "license": 4}, {"id": 2, "file_name": "2.jpg"}],
    "annotations": [
        {"image_id": 1, "file_name": "1.png", "segments_info": [{"id": 7, "category_id": 1}]},
        {"image_id": 2, "file_name": "2.png", "segments_info": []},
    ],
    "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    "licenses": [{"id": 4, "name": "CC BY"}],
}
ENTRY = {"file": "val2017/1.jpg", "label": "labels/1.png", "licence": "CC BY", "flickr_url": "http://x"}
SAMPLE = {"images": [{"id": "1", **ENTRY}, {"id": "2", **ENTRY}]}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**31 - 2, 2**31 + 2)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "/etc/passwd", "1.jpg", "1", "a/../1.png", "\ud800", "x" * 300, 10**60])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """COCO, COCO-Stuff, VOC and a sample over the same two photos."""
    root = tmp_path_factory.mktemp("fuzz")
    pixels = np.zeros((2, 3, 3), np.uint8)
    for name in ("1", "2"):
        for photos in ("val2017", "JPEGImages"):
            (root / photos).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / photos / f"{name}.jpg")
        for maps in ("stuffthingmaps/val2017", "SegmentationClass", "labels"):
            (root / maps).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[..., 0]).save(root / maps / f"{name}.png")
        (root / "annotations" / "panoptic_val2017").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels + np.array([7, 0, 0], np.uint8)).save(
            root / "annotations" / "panoptic_val2017" / f"{name}.png"
        )
    for folder in ("ImageSets/Segmentation", "curated/val2017"):
        (root / folder).mkdir(parents=True)
    return root


def works(dataset: Dataset, root: Path) -> None:
    """Check that a data set that could be opened keeps what it promises."""
    assert dataset.records and len({record.id for record in dataset.records}) == len(dataset.records)
    json.dumps([dataset.classes, dataset.notes]).encode()
    for record in dataset.records:
        assert record.image.is_relative_to(root) and ".." not in record.image.parts
        assert record.label is None or (record.label.is_relative_to(root) and ".." not in record.label.parts)
        for read in (dataset.read_image, dataset.read_label):
            try:
                read(record)
            except ImageError as error:
                assert str(root) in str(error)
        licence = dataset.licence(record)
        assert licence is None or all(isinstance(part, str) for part in licence)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every entry of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, part in inner for place in [(*way, key), *places(part, (*way, key))]]


@st.composite
def changed(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """JSON with up to three entries replaced, removed or repeated, or with bytes of its text changed."""
    found = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        where = places(found)
        if not where:
            break
        *way, last = draw(st.sampled_from(where))
        target: Any = found
        for step in way:
            target = target[step]
        how = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if how == "replace":
            target[last] = draw(VALUES)
        elif how == "remove":
            del target[last]
        elif isinstance(target, list):
            target.append(copy.deepcopy(target[last]))
    text = bytearray(json.dumps(found).encode())
    if draw(st.integers(0, 4)) == 0:
        text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text)


@settings(max_examples=60, deadline=None)
@given(text=changed(PANOPTIC), labels=st.sampled_from(["coarse", "fine"]))
def test_panoptic_annotations(root, text, labels):
    (root / "annotations" / "panoptic_val2017.json").write_bytes(text)
    try:
        dataset = open_dataset("coco", root, labels=labels)
    except SpectralGraphError as error:
        assert "panoptic_val2017" in str(error) or str(root) in str(error)
        return
    works(dataset, root)


@settings(max_examples=40, deadline=None)
@given(text=changed(SAMPLE))
def test_the_list_of_the_sample(root, text):
    (root / "sample.json").write_bytes(text)
    try:
        dataset = Sample(root)
    except SpectralGraphError as error:
        assert "sample.json" in str(error)
        return
    if dataset.records:
        works(dataset, root)


LINES = st.lists(
    st.sampled_from(["1", "2", "1.jpg", "1 -1", "2\t1", "", " ", "../1", "/1", "a b", "x/1"]) | st.text(max_size=6)
)
LISTS = st.builds(
    lambda lines, end, mark: mark + end.join(lines).encode("utf-8", "replace"),
    LINES,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]),
) | st.binary(max_size=20)


@settings(max_examples=80, deadline=None)
@given(text=LISTS)
def test_lists_of_images_and_of_classes(root, text):
    for name, path in (
        ("voc", root / "ImageSets" / "Segmentation" / "val.txt"),
        ("cocostuff", root / "curated" / "val2017" / "Coco164kFull_Stuff_Coarse_7.txt"),
    ):
        path.write_bytes(text)
        try:
            dataset = open_dataset(name, root)
        except SpectralGraphError as error:
            assert str(root) in str(error)
            continue
        works(dataset, root)
