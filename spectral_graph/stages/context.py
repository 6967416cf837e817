"""What every stage gets, and the table of images that the extract stage leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.config import RunConfig
from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.distributed.world import ALONE, World
from spectral_graph.files import read_json, write_json
from spectral_graph.progress import Reporter
from spectral_graph.run import RunDirectory
from spectral_graph.validation import validated

_CURE = "recompute with --force extract"
_Size = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2)]


class _Image(TypedDict):
    id: str
    slot: Annotated[int, Field(ge=0)]
    box: Annotated[list[int], Field(min_length=4, max_length=4)]
    source_size: _Size


class _Model(TypedDict):
    name: str
    weights: dict[str, Any]
    note: str
    device: NotRequired[str]


class _Table(TypedDict):
    """images.json."""

    grid: _Size
    network_size: _Size
    layers: list[str]
    images: Annotated[list[_Image], Field(min_length=1)]
    skipped: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    model: _Model


_FORM = TypeAdapter(_Table)


@dataclass(frozen=True)
class Context:
    """Options, run directory, data set, the way to speak to the user, and the processes that share the work."""

    config: RunConfig
    run: RunDirectory
    dataset: Dataset
    reporter: Reporter
    world: World = ALONE


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
            FormatError: it is damaged.
        """
        raw = validated(read_json(path, _CURE), _FORM, path, _CURE)
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


def table_of(context: Context) -> ImageTable:
    """Return the table of images of a run whose extract stage is complete."""
    return ImageTable.load(context.run.path / "images.json")


def record_of(context: Context, image: KeptImage) -> ImageRecord:
    """Return the data set's record of a kept image."""
    return context.dataset.records[image.slot]
