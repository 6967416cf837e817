"""The gallery: each photo with its ground truth, eigenvectors and regions, as files and as parts of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from spectral_graph.report import pictures
from spectral_graph.report.colours import as_hex, colour_table
from spectral_graph.report.content import GalleryItem, PathwayView, PhotoLicence, ReportContent
from spectral_graph.report.names import FileNames, slug
from spectral_graph.text.formatting import percent

PAGE_BUDGET = 5_500_000
"""Bytes of JPEG at most that the pictures of a page take together; written as text they take a third more."""

# (longest side in pixels, JPEG quality), tried in turn until a picture fits its part of the budget.
_LADDER = ((640, 88), (512, 85), (400, 82), (320, 78), (240, 72), (160, 60))

Save = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Picture:
    """One picture: where its PNG is, and how the page shows it; `keyed` if the legend explains its colours."""

    file: str
    uri: str
    alt: str
    caption: str
    width: int
    height: int
    keyed: bool


@dataclass(frozen=True)
class Group:
    """Pictures that stand together: the input, or one pathway."""

    name: str
    pictures: list[Picture]


@dataclass(frozen=True)
class LegendEntry:
    """A colour as ``#rrggbb``, what it stands for, and a remark."""

    colour: str
    name: str
    remark: str = ""


@dataclass(frozen=True)
class Legend:
    """A list of colours with a heading."""

    title: str
    entries: list[LegendEntry]


@dataclass(frozen=True)
class Row:
    """One photo with all that was found in it."""

    number: int
    id: str
    size: str
    groups: list[Group]
    more: list[Group]
    legends: list[Legend]
    licence: PhotoLicence | None


@dataclass
class _Painter:
    """Turns arrays into `Picture`s: saves the PNG and embeds a JPEG of at most `share` bytes."""

    names: FileNames
    save: Save
    share: int
    stem: str = ""
    id: str = ""

    def paint(self, array: np.ndarray, what: str, caption: str, alt: str, keyed: bool = False) -> Picture:
        image = Image.fromarray(array)
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=4)
        name = self.names.file(self.stem, what)
        self.save(name, png.getvalue())
        return Picture(
            name, _data_uri(image, self.share), f"{self.id}: {alt}", caption, image.width, image.height, keyed
        )


@dataclass
class _Key:
    """The classes and clusters of one photo, in the order in which its legend lists them."""

    true: dict[int, float] = field(default_factory=dict)
    found: dict[int, None] = field(default_factory=dict)
    nameless: dict[str, str] = field(default_factory=dict)


def build_gallery(content: ReportContent, names: FileNames, save: Save) -> list[Row]:
    """Paint all pictures of the gallery.

    Args:
        content: its gallery, classes, limits and licences.
        names: hands out the file names.
        save: stores a file (name, bytes) beside the page.

    Returns:
        one row a photo, in the order given.
    """
    count = sum(
        1 + (item.ground_truth is not None) + sum(map(_count, item.pathways.values())) for item in content.gallery
    )
    licences = {entry.image: entry for entry in content.licences}
    limits = gallery_limits(content.gallery, content.limits)
    painter = _Painter(names, save, PAGE_BUDGET // max(count, 1))
    rows = []
    for number, item in enumerate(content.gallery, start=1):
        painter.stem, painter.id = names.stem(item.id), item.id
        rows.append(_row(number, item, painter, limits, content.classes, licences.get(item.id)))
    return rows


def gallery_limits(gallery: Sequence[GalleryItem], given: Mapping[str, pictures.Limits]) -> dict[str, pictures.Limits]:
    """Return the limits of each pathway of the gallery: those given, or those common to its images."""
    names = dict.fromkeys(name for item in gallery for name in item.pathways)
    return {
        name: given[name]
        if name in given
        else pictures.common_limits(
            item.pathways[name].eigenvectors[..., : pictures.MAX_SHOWN] for item in gallery if name in item.pathways
        )
        for name in names
    }


def _row(
    number: int,
    item: GalleryItem,
    painter: _Painter,
    limits: Mapping[str, pictures.Limits],
    classes: Sequence[str],
    licence: PhotoLicence | None,
) -> Row:
    key = _Key()
    height, width = item.photo.shape[:2]
    first = [painter.paint(item.photo, "photo", "photo", "the photo")]
    if item.ground_truth is not None:
        ids, counts = np.unique(item.ground_truth[item.ground_truth >= 0], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        key.true = {int(ids[i]): float(counts[i] / item.ground_truth.size) for i in order}
        named = ", ".join(f"{_class_name(i, classes)} {percent(share)} %" for i, share in key.true.items())
        table = colour_table(max([len(classes), *(i + 1 for i in key.true)]))
        picture = pictures.overlay(item.photo, item.ground_truth, table)
        first.append(
            painter.paint(picture, "ground_truth", "ground truth", f"ground truth: {named or 'no label'}", True)
        )
    groups, more = [Group("Input", first)], []
    for name, view in item.pathways.items():
        shown = _eigenvector_pictures(item, name, view, limits[name], painter)
        regions = [] if view.regions is None else [_regions(item, name, view, painter, classes, key)]
        if shown or regions:
            groups.append(Group(name, shown[:2] + regions))
        if shown[2:]:
            more.append(Group(name, shown[2:]))
    return Row(number, item.id, f"{width} x {height} pixels", groups, more, _legends(key, classes), licence)


def _eigenvector_pictures(
    item: GalleryItem, name: str, view: PathwayView, limits: pictures.Limits, painter: _Painter
) -> list[Picture]:
    size = (item.photo.shape[0], item.photo.shape[1])
    painted = []
    for channels in pictures.triples(view.eigenvectors.shape[-1]):
        numbers = str(channels[0] + 1) if len(channels) == 1 else f"{channels[0] + 1}-{channels[-1] + 1}"
        word = "eigenvector" if len(channels) == 1 else "eigenvectors"
        picture = pictures.eigenvector_picture(view.eigenvectors, channels, limits, size)
        caption, alt = f"{word} {numbers}", f"{name} {word} {numbers} as colours"
        painted.append(painter.paint(picture, f"{slug(name)}_{word}_{numbers}", caption, alt))
    return painted


def _regions(
    item: GalleryItem, name: str, view: PathwayView, painter: _Painter, classes: Sequence[str], key: _Key
) -> Picture:
    assert view.regions is not None
    present = [int(i) for i in np.unique(view.regions) if i >= 0]
    clusters = max([len(view.matched or ()), *(i + 1 for i in present)])
    colours = pictures.cluster_colours(clusters, view.matched, len(classes))
    words = []
    for cluster in present:
        match = view.matched[cluster] if view.matched is not None and cluster < len(view.matched) else -1
        if 0 <= match < len(classes):
            key.found[match] = None
            words.append(classes[match])
        else:
            words.append(f"cluster {cluster + 1}")
            # Two pathways may give one colour to different clusters: the legend then names both.
            colour = _swatch(colours[cluster])
            text = f"{name} cluster {cluster + 1}"
            key.nameless[colour] = f"{key.nameless[colour]}, {text}" if colour in key.nameless else text
    caption = "regions"
    if item.ground_truth is not None and view.matched is not None:
        right = pictures.agreement(item.ground_truth, view.regions, view.matched)
        caption += "" if right is None else f", {percent(right)} % right"
    picture = pictures.overlay(item.photo, view.regions, colours)
    return painter.paint(
        picture, f"{slug(name)}_regions", caption, f"{name} regions: {', '.join(words) or 'none'}", True
    )


def _legends(key: _Key, classes: Sequence[str]) -> list[Legend]:
    extra = sorted(i for i in key.found if i not in key.true)
    table = colour_table(max([len(classes), 1, *(i + 1 for i in key.true)]))
    true = [
        LegendEntry(_swatch(table[i]), _class_name(i, classes), f"{percent(share)} %") for i, share in key.true.items()
    ]
    found = [LegendEntry(_swatch(table[i]), classes[i]) for i in extra]
    nameless = [LegendEntry(colour, text) for colour, text in key.nameless.items()]
    legends = [
        Legend("Ground truth", true),
        Legend("Only in regions" if true else "Regions", found),
        Legend("Without a class" if classes else "Regions", nameless),
    ]
    return [legend for legend in legends if legend.entries]


def _swatch(colour: np.ndarray) -> str:
    return as_hex(pictures.as_laid_over(colour))


def _class_name(index: int, classes: Sequence[str]) -> str:
    return classes[index] if index < len(classes) else f"class {index}"


def _count(view: PathwayView) -> int:
    return len(pictures.triples(view.eigenvectors.shape[-1])) + (view.regions is not None)


def _data_uri(image: Image.Image, share: int) -> str:
    data = b""
    for side, quality in _LADDER:
        smaller = image.copy()
        smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        # Full colour resolution: in eigenvector pictures and overlays the colour is the message.
        smaller.save(encoded, "JPEG", quality=quality, subsampling=0)
        data = encoded.getvalue()
        if len(data) <= share:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
