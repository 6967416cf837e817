"""What every stage gets, and the table of images that the extract stage leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.bank import Bank
from spectral_graph.bank.rows import recompute
from spectral_graph.config import RunConfig
from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.distributed.world import ALONE, World
from spectral_graph.errors import FormatError
from spectral_graph.features.store import FeatureStore
from spectral_graph.files import read_json, write_json
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.inside import PlainNames, shown
from spectral_graph.progress import Reporter
from spectral_graph.run import RunDirectory
from spectral_graph.stages.graph_attributes import graph_attributes
from spectral_graph.validation import validated

_CURE = "recompute with --force extract"
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
            FormatError: it is damaged: an entry is missing, contradicts another, or a layer's name is no file name.
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
    """Return the data set's record of a kept image.

    Raises:
        FormatError: images.json was not made from this data set.
    """
    records = context.dataset.records
    if image.slot >= len(records) or records[image.slot].id != image.id:
        raise FormatError(
            f"{context.run.path / 'images.json'} has image {shown(image.id)} in slot {image.slot}, and the data set "
            f"{context.dataset.name} has another image there, or none; {_CURE}"
        )
    return records[image.slot]


def features_of(context: Context, table: ImageTable) -> FeatureStore:
    """Open the feature store of a run whose extract stage is complete.

    Raises:
        FormatError: it is damaged, or does not hold the images and layers of `table`.
    """
    store = FeatureStore.open(context.run.path / "features.zarr")
    held = (store.grid, set(store.layers), store.slots > max(table.slots))
    if held != (table.grid, set(table.layers), True):
        raise FormatError(f"{store.path} does not hold the images and layers that images.json names; {_CURE}")
    return store


def graph_of(context: Context, table: ImageTable, kind: str) -> GraphStore:
    """Open the graph of one affinity for reading.

    Raises:
        FormatError: there is none, it is damaged, or it is not that of the images and layers of `table`.
    """
    store = GraphStore.open(context.run.folder(kind) / "graph.zarr")
    described = graph_attributes(store)
    of = (described["kind"], described["nodes"], tuple(described["grid"]), tuple(described["layers"]))
    if of != (kind, table.nodes, table.grid, table.layers) or described["nodes_per_image"] != table.nodes_per_image:
        raise FormatError(
            f"{store.path} is not the graph {kind} of the images and layers that images.json names; "
            "recompute with --force graph"
        )
    return store


def bank_of(folder: Path, table: ImageTable, verify: bool = True) -> Bank:
    """Open a bank that holds the nodes of a table's images.

    Args:
        folder: of the bank.
        table: the images.
        verify: see `Bank.open`.

    Raises:
        FormatError: there is none, it is damaged, or it holds other nodes.
    """
    bank = Bank.open(folder, verify)
    if (bank.shape[0], bank.nodes_per_image) != (table.nodes, table.nodes_per_image):
        raise FormatError(
            f"{folder} holds {bank.shape[0]} nodes, {bank.nodes_per_image} an image, and images.json names "
            f"{table.nodes}, {table.nodes_per_image} an image; {recompute(folder)}"
        )
    return bank
