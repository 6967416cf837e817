"""The attributes of a graph, validated when they are read."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.errors import FormatError
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.graph.facts import GraphFacts
from spectral_graph.io.inside import PlainName, PlainNames
from spectral_graph.io.validation import validated

_CURE = "recompute with `force=graph`"


class AllFacts(TypedDict):
    """The facts of each layer and of all layers."""

    layers: dict[str, GraphFacts]
    all: GraphFacts


class Coarse(TypedDict):
    """Layers whose graphs have the nodes of the layer's coarser grid (`spectral_graph.graph.layer_grids`)."""

    mode: Literal["bilinear", "area"]
    grids: dict[PlainName, Annotated[list[Annotated[int, Field(gt=0, lt=2**15)]], Field(min_length=2, max_length=2)]]


class _Attributes(TypedDict):
    kind: Literal["vv", "qk", "kk"]
    nodes: Annotated[int, Field(gt=0, lt=2**31)]
    nodes_per_image: Annotated[int, Field(gt=0)]
    layers: Annotated[PlainNames, Field(min_length=1)]
    rounds: Annotated[int, Field(gt=0, lt=2**31)]
    c_intra: int
    c_inter: int
    threshold: float
    sharpen: float
    centred: bool
    grid: Annotated[list[Annotated[int, Field(gt=0, lt=2**15)]], Field(min_length=2, max_length=2)]
    coarse: NotRequired[Coarse]
    hubs: NotRequired[str]
    facts: NotRequired[AllFacts]


class BatchAttributes(_Attributes):
    """Options of a graph of scope `batch`, and its facts once it is finished."""

    scope: Literal["batch"]
    batch: int


class DatasetAttributes(_Attributes):
    """Options and facts of a graph of scope `dataset`."""

    scope: Literal["dataset"]
    neighbours: str


GraphAttributes = BatchAttributes | DatasetAttributes
_SCHEMA: TypeAdapter[GraphAttributes] = TypeAdapter(Annotated[GraphAttributes, Field(discriminator="scope")])


def graph_facts(store: GraphStore) -> AllFacts:
    """Return the facts of a finished graph.

    Raises:
        FormatError: an attribute is missing or of another type.
    """
    attributes = graph_attributes(store)
    if "facts" not in attributes:
        raise FormatError(f"{store.path} is not finished (it has no facts); {_CURE}")
    return attributes["facts"]


def graph_attributes(store: GraphStore) -> GraphAttributes:
    """Return the attributes of a graph.

    Raises:
        FormatError: an entry is missing or of another type.
    """
    return validated(store.attributes, _SCHEMA, store.path / "zarr.json", _CURE)
