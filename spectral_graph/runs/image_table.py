"""images.json: which images a run is built on, written by stage extract and checked as it is read back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.io.files import read_json, write_json
from spectral_graph.io.inside import PlainNames
from spectral_graph.io.validation import validated

CURE = "recompute with `force=extract`"
_Size = Annotated[list[Annotated[int, Field(gt=0, lt=2**31)]], Field(min_length=2, max_length=2)]


class _Image(TypedDict):
    id: str
    slot: Annotated[int, Field(ge=0, lt=2**31)]
    box: Annotated[list[int], Field(min_length=4, max_length=4)]
    source_size: _Size


def _box_inside(image: _Image) -> _Image:
    (left, top, right, bottom), (height, width) = image["box"], image["source_size"]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"the box {image['box']} is no part of {height} x {width} pixels (height x width)")
    return image


class _Model(TypedDict):
    name: str
    weights: dict[str, Any]
    note: str
    device: NotRequired[str]


class _Table(TypedDict):
    """images.json."""

    grid: _Size
    network_size: _Size
    layers: Annotated[PlainNames, Field(min_length=1)]
    images: Annotated[list[Annotated[_Image, AfterValidator(_box_inside)]], Field(min_length=1)]
    skipped: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    model: _Model


def _consistent(table: _Table) -> _Table:
    slots = [image["slot"] for image in table["images"]]
    wrong = next((i for i in range(1, len(slots)) if slots[i] <= slots[i - 1]), None)
    if wrong is not None:
        raise ValueError(f"images.{wrong}.slot is {slots[wrong]} after {slots[wrong - 1]}: slots do not ascend")
    if (nodes := len(slots) * table["grid"][0] * table["grid"][1]) >= 2**31:
        raise ValueError(f"{len(slots)} images on a grid of {table['grid']} are {nodes} nodes, more than 2^31")
    return table


_FORM: TypeAdapter[_Table] = TypeAdapter(Annotated[_Table, AfterValidator(_consistent)])


@dataclass(frozen=True)
class KeptImage:
    """An image that the run is built on.

    Attributes:
        id: of the data set's record.
        slot: its place in the feature store (and in the data set's list).
        box: (left, top, right, bottom), the part of the photo that the network saw, in pixels of the photo.
        source_size: (height, width) of the photo.
    """

    id: str
    slot: int
    box: tuple[int, int, int, int]
    source_size: tuple[int, int]


@dataclass(frozen=True)
class ImageTable:
    """Which images were kept, which were skipped and why, and how they were seen.

    Attributes:
        grid: (h, w) nodes of an image.
        network_size: (height, width) in pixels that the network saw.
        layers: names of the layers.
        images: kept images; their order is the order of the nodes everywhere else.
        skipped: (id, reason).
        model: name, weights and note of the model, and the device that it ran on (not in runs of earlier builds).
    """

    grid: tuple[int, int]
    network_size: tuple[int, int]
    layers: tuple[str, ...]
    images: tuple[KeptImage, ...]
    skipped: tuple[tuple[str, str], ...]
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def nodes_per_image(self) -> int:
        """Nodes of one image."""
        return self.grid[0] * self.grid[1]

    @property
    def nodes(self) -> int:
        """Nodes of all kept images."""
        return len(self.images) * self.nodes_per_image

    @property
    def slots(self) -> list[int]:
        """Places of the kept images in the feature store."""
        return [image.slot for image in self.images]

    def save(self, path: Path) -> None:
        """Write the table as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> ImageTable:
        """Read a table.

        Raises:
            FormatError: it is damaged: an entry is missing, contradicts another, or a layer's name is no file name.
        """
        raw = validated(read_json(path, CURE), _FORM, path, CURE)
        images = []
        for image in raw["images"]:
            left, top, right, bottom = image["box"]
            height, width = image["source_size"]
            images.append(KeptImage(image["id"], image["slot"], (left, top, right, bottom), (height, width)))
        return cls(
            (raw["grid"][0], raw["grid"][1]),
            (raw["network_size"][0], raw["network_size"][1]),
            tuple(raw["layers"]),
            tuple(images),
            tuple((identity, reason) for identity, reason in raw["skipped"]),
            dict(raw["model"]),
        )
