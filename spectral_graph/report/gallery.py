"""The gallery: each photo with its ground truth, eigenvectors and regions, as files and as parts of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from spectral_graph.report import pictures
from spectral_graph.report.content import GalleryItem, PathwayView, PhotoLicence, ReportContent
from spectral_graph.report.names import FileNames, slug
from spectral_graph.report.pictures import swatch
from spectral_graph.text.formatting import percent

PAGE_BUDGET = 5_500_000
"""Bytes of JPEG at most that the pictures of a page take together; base64 adds a third."""

# (longest side in pixels, JPEG quality), tried in turn until a picture fits its part of the budget.
_LADDER = ((640, 88), (512, 85), (400, 82), (320, 78), (240, 72), (160, 60))

Save = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Picture:
    """One picture: the name of its PNG, and what the page shows."""

    file: str
    uri: str
    alt: str
    caption: str
    width: int
    height: int
    keyed: bool  # whether the legend explains its colours


@dataclass(frozen=True)
class Group:
    """Pictures that stand together: the input, or one pathway."""

    name: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class LegendEntry:
    """A colour as ``#rrggbb``, its meaning, and a remark."""

    colour: str
    name: str
    remark: str = ""


@dataclass(frozen=True)
class Legend:
    """A list of colours with a heading."""

    title: str
    entries: Sequence[LegendEntry]


@dataclass(frozen=True)
class Row:
    """One photo with all its pictures."""

    number: int
    id: str
    size: str
    groups: Sequence[Group]
    more: Sequence[Group] = ()  # folded away on the page
    legends: Sequence[Legend] = ()
    licence: PhotoLicence | None = None


def build_gallery(content: ReportContent, names: FileNames, save: Save) -> list[Row]:
    """Paint all pictures of the gallery, pass them to `save` (name, PNG bytes), and return one row a photo."""
    views = [view for item in content.gallery for view in item.pathways.values()]
    count = sum(1 + (item.ground_truth is not None) for item in content.gallery)
    count += sum(len(pictures.triples(view.eigenvectors.shape[-1])) + (view.regions is not None) for view in views)
    licences = {entry.image: entry for entry in content.licences}
    limits = gallery_limits(content.gallery)
    rows = []
    for number, item in enumerate(content.gallery, start=1):
        painter = _Painter(item, content.classes, names, save, PAGE_BUDGET // count)
        groups, more = [Group("Input", list(painter.inputs()))], []
        for name, view in item.pathways.items():
            shown = list(painter.eigenvectors(name, view, limits[name]))
            regions = [] if view.regions is None else [painter.regions(name, view, view.regions)]
            if shown or regions:
                groups.append(Group(name, shown[:2] + regions))
            if shown[2:]:
                more.append(Group(name, shown[2:]))
        size = f"{item.photo.shape[1]} x {item.photo.shape[0]} pixels"
        rows.append(Row(number, item.id, size, groups, more, painter.legends(), licences.get(item.id)))
    return rows


def gallery_limits(gallery: Sequence[GalleryItem]) -> dict[str, pictures.Limits]:
    """Return the limits of each pathway, common to the images of the gallery."""
    names = dict.fromkeys(name for item in gallery for name in item.pathways)
    return {
        name: pictures.common_limits(
            item.pathways[name].eigenvectors[..., : pictures.MAX_SHOWN] for item in gallery if name in item.pathways
        )
        for name in names
    }


class _Painter:
    """Paints the pictures of one photo, each at most `share` bytes of JPEG, and collects their legend."""

    def __init__(self, item: GalleryItem, classes: Sequence[str], names: FileNames, save: Save, share: int) -> None:
        self._item, self._classes, self._names, self._save, self._share = item, classes, names, save, share
        self._stem = names.stem(item.id)
        self._size = (item.photo.shape[0], item.photo.shape[1])
        self._true: dict[int, float] = {}  # classes of the ground truth, and their shares of the pixels
        self._found: set[int] = set()  # classes of the regions
        self._unmatched: dict[str, str] = {}  # colours of clusters without a class, and their names

    def inputs(self) -> Iterator[Picture]:
        """Paint the photo and its ground truth."""
        yield self._paint(self._item.photo, "photo", "photo", "the photo")
        truth = self._item.ground_truth
        if truth is not None:
            ids, counts = np.unique(truth[truth >= 0], return_counts=True)
            order = np.argsort(-counts, kind="stable")
            self._true = {int(ids[i]): float(counts[i] / truth.size) for i in order}
            named = ", ".join(f"{self._classes[i]} {percent(share)} %" for i, share in self._true.items())
            picture = pictures.overlay(self._item.photo, truth, pictures.colour_table(len(self._classes)))
            alt = f"ground truth: {named or 'no label'}"
            yield self._paint(picture, "ground_truth", "ground truth", alt, keyed=True)

    def eigenvectors(self, name: str, view: PathwayView, limits: pictures.Limits) -> Iterator[Picture]:
        """Paint the eigenvectors of a pathway, three at a time."""
        for channels in pictures.triples(view.eigenvectors.shape[-1]):
            numbers = str(channels[0] + 1) if len(channels) == 1 else f"{channels[0] + 1}-{channels[-1] + 1}"
            word = "eigenvector" if len(channels) == 1 else "eigenvectors"
            picture = pictures.eigenvector_picture(view.eigenvectors, channels, limits, self._size)
            caption, alt = f"{word} {numbers}", f"{name} {word} {numbers} as colours"
            yield self._paint(picture, f"{slug(name)}_{word}_{numbers}", caption, alt)

    def regions(self, name: str, view: PathwayView, regions: np.ndarray) -> Picture:
        """Paint the regions of a pathway."""
        matched, classes = view.matched, self._classes
        present = [int(i) for i in np.unique(regions) if i >= 0]
        colours = pictures.cluster_colours(max([len(matched or ()), *(i + 1 for i in present)]), matched, len(classes))
        labels = []
        for cluster in present:
            match = matched[cluster] if matched is not None and cluster < len(matched) else -1
            if 0 <= match < len(classes):
                self._found.add(match)
                labels.append(classes[match])
            else:
                labels.append(f"cluster {cluster + 1}")
                # Two pathways may give one colour to different clusters: the legend then names both.
                colour, text = swatch(colours[cluster]), f"{name} cluster {cluster + 1}"
                self._unmatched[colour] = f"{self._unmatched[colour]}, {text}" if colour in self._unmatched else text
        caption = "regions"
        if self._item.ground_truth is not None and matched is not None:
            correct = pictures.agreement(self._item.ground_truth, regions, matched)
            caption += "" if correct is None else f", {percent(correct)} % correct"
        picture = pictures.overlay(self._item.photo, regions, colours)
        alt = f"{name} regions: {', '.join(labels) or 'none'}"
        return self._paint(picture, f"{slug(name)}_regions", caption, alt, keyed=True)

    def legends(self) -> list[Legend]:
        """Return the legends of the pictures painted so far."""
        names, table = self._classes, pictures.colour_table(max(len(self._classes), 1))
        true = [LegendEntry(swatch(table[i]), names[i], f"{percent(share)} %") for i, share in self._true.items()]
        found = [LegendEntry(swatch(table[i]), names[i]) for i in sorted(self._found - self._true.keys())]
        unmatched = [LegendEntry(colour, text) for colour, text in self._unmatched.items()]
        legends = [
            Legend("Ground truth", true),
            Legend("Only in regions" if true else "Regions", found),
            Legend("Without a class" if names else "Regions", unmatched),
        ]
        return [legend for legend in legends if legend.entries]

    def _paint(self, array: np.ndarray, what: str, caption: str, alt: str, keyed: bool = False) -> Picture:
        image = Image.fromarray(array)
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=4)
        name = self._names.file(self._stem, what)
        self._save(name, png.getvalue())
        uri = _data_uri(image, self._share)
        return Picture(name, uri, f"{self._item.id}: {alt}", caption, image.width, image.height, keyed)


def _data_uri(image: Image.Image, share: int) -> str:
    data = b""
    for side, quality in _LADDER:
        smaller = image.copy()
        smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        # Without chroma subsampling: in eigenvector pictures and overlays the colour carries the meaning.
        smaller.save(encoded, "JPEG", quality=quality, subsampling=0)
        data = encoded.getvalue()
        if len(data) <= share:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
