"""The panoptic annotation file of COCO, checked entry by entry (https://cocodataset.org/#format-data, section 4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, StrictInt, StrictStr, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from spectral_graph.data.labels import COARSE_CLASSES, IGNORED, LabelSet
from spectral_graph.data.text_file import checked_names, read_bytes
from spectral_graph.errors import DataError

_CURE = "fetch it again from cocodataset.org"
_Id = StrictInt | StrictStr


class _Image(TypedDict):
    id: _Id
    file_name: StrictStr


class _Segment(TypedDict):
    # 0 is the mark of unlabelled pixels, and a pixel has three bytes.
    id: Annotated[StrictInt, Field(gt=0, lt=2**24)]
    category_id: _Id


class _Annotation(TypedDict):
    image_id: _Id
    file_name: StrictStr
    segments_info: list[_Segment]


class _Category(TypedDict):
    id: _Id
    name: StrictStr


class _Content(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


_FORM = TypeAdapter(_Content)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The label map of one image.

    Attributes:
        file_name: of the PNG, relative to the folder of the split.
        segments: (S + 1,) int32, the ids of its segments, ascending; the first is 0, unlabelled.
        classes: (S + 1,) int16, their classes; that of 0 is IGNORED.
    """

    file_name: str
    segments: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Panoptic:
    """Content of an annotation file.

    Attributes:
        classes: names of the classes.
        label_maps: file name of a photo -> its label map, None where it has none; all photos.
        licences: file name of a photo -> name of its licence and address of its source, where they are given.
        strays: ids of the annotations whose image is not listed.
    """

    classes: tuple[str, ...]
    label_maps: dict[str, LabelMap | None]
    licences: dict[str, tuple[str, str]]
    strays: tuple[str, ...]


def read_panoptic(source: Path, labels: LabelSet) -> Panoptic:
    """Read an annotation file.

    Args:
        source: the file.
        labels: ``coarse`` or ``fine`` classes.

    Raises:
        DataError: it cannot be read, is no panoptic annotation file, or contradicts itself.
    """
    try:
        content = json.loads(read_bytes(source))
        _FORM.validate_python(content)
        classes, class_of = _categories(content["categories"], labels, source)
        names = _unique([(image["id"], image["file_name"]) for image in content["images"]], "image")
        if len(set(names.values())) < len(names):
            raise ValueError("two images have the same file name")
        found = [(a["image_id"], _label_map(a, class_of)) for a in content["annotations"] if a["image_id"] in names]
        label_maps = _unique(found, "annotation of image")
        strays = tuple(repr(a["image_id"]) for a in content["annotations"] if a["image_id"] not in names)
        licences = _licences(content)
    except (ValueError, KeyError, RecursionError, OSError, MemoryError) as error:
        why = _reason(error)
        raise DataError(f"{source} is damaged or no panoptic annotation file ({why}); {_CURE}") from error
    return Panoptic(classes, {name: label_maps.get(key) for key, name in names.items()}, licences, strays)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its entries are nested too deeply"
    if isinstance(error, KeyError):
        return f"no entry {error}"
    if not isinstance(error, ValidationError):
        return str(error) or type(error).__name__
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "missing":
        *place, name = first["loc"]
        return f"no entry {str(name)!r}{' in ' if place else ''}{'.'.join(map(str, place))}"
    place = [part for part in first["loc"] if part not in ("int", "str")]
    return f"{'.'.join(map(str, place))}{': ' if place else ''}{first['msg'].lower()}"


def _unique(pairs: list[tuple[Any, Any]], what: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{what} {key!r} occurs twice")
        found[key] = value
    return found


def _categories(
    entries: list[dict[str, Any]], labels: LabelSet, source: Path
) -> tuple[tuple[str, ...], dict[int | str, int]]:
    """Return the class names, and category id -> class id."""
    _unique([(entry["id"], None) for entry in entries], "category")
    entries = sorted(entries, key=lambda entry: (isinstance(entry["id"], str), entry["id"]))
    if labels == "fine":
        names = checked_names([entry["name"] for entry in entries], source, _CURE)
        return names, {entry["id"]: i for i, entry in enumerate(entries)}
    index = {name: i for i, name in enumerate(COARSE_CLASSES)}
    for entry in entries:
        above = entry.get("supercategory")
        if not isinstance(above, str) or above not in index:
            raise ValueError(f"unknown supercategory {above}; try `labels=fine`")
    return COARSE_CLASSES, {entry["id"]: index[entry["supercategory"]] for entry in entries}


def _label_map(annotation: dict[str, Any], class_of: dict[int | str, int]) -> LabelMap:
    segments = _unique([(s["id"], class_of[s["category_id"]]) for s in annotation["segments_info"]], "segment")
    pairs = sorted([(0, IGNORED), *segments.items()])
    return LabelMap(
        annotation["file_name"],
        np.array([segment for segment, _ in pairs], np.int32),
        np.array([label for _, label in pairs], np.int16),
    )


def _licences(content: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the well-formed licences; only the credits in the report depend on them."""
    entries = content.get("licenses")
    names = {
        entry["id"]: entry["name"]
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str) and isinstance(entry.get("name"), str)
    }
    found = {}
    for image in content["images"]:
        licence, address = image.get("license"), image.get("flickr_url", "")
        if isinstance(licence, int | str) and licence in names:
            found[image["file_name"]] = (names[licence], address if isinstance(address, str) else "")
    return found
