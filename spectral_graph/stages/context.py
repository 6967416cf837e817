"""What every stage gets, and how it opens what earlier stages left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spectral_graph.bank import Bank
from spectral_graph.bank.rows import recompute
from spectral_graph.config import RunConfig
from spectral_graph.data.dataset import Dataset, ImageRecord
from spectral_graph.distributed.comm import ONE_PROCESS, Comm
from spectral_graph.errors import FormatError
from spectral_graph.features.store import FeatureStore
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.io.inside import shown
from spectral_graph.progress import Reporter
from spectral_graph.runs.directory import RunDirectory
from spectral_graph.runs.graph_attributes import graph_attributes
from spectral_graph.runs.image_table import CURE, ImageTable, KeptImage


@dataclass(frozen=True)
class Context:
    """Options, run directory, data set, the way to speak to the user, and the processes that share the work."""

    config: RunConfig
    run: RunDirectory
    dataset: Dataset
    reporter: Reporter
    comm: Comm = ONE_PROCESS


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
            f"{context.dataset.name} has another image there, or none; {CURE}"
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
        raise FormatError(f"{store.path} does not hold the images and layers that images.json names; {CURE}")
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
            "recompute with `force=graph`"
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
