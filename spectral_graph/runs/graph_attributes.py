"""The attributes of a finished graph, checked as they are read back."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.errors import FormatError
from spectral_graph.graph.blocks import GraphStore
from spectral_graph.io.inside import PlainName, PlainNames, shown
from spectral_graph.io.validation import validated

_CURE = "recompute with `force=graph`"


def _share(text: str) -> str:
    if not 0 <= float(text) <= 1:
        raise ValueError(f"{shown(text)} is no share of the nodes, 0 to 1")
    return text


class Facts(TypedDict):
    """The facts of one layer, or of all (`spectral_graph.graph.facts`); graphs of earlier builds have fewer."""

    nodes: int
    blocks: int
    stored_edges: int
    mean_degree: float
    isolated_nodes: int
    rows_with_fewer_neighbours: int
    largest_in_degree: int
    components: int
    largest_component: NotRequired[int]
    in_degree_quantiles: NotRequired[dict[Annotated[str, AfterValidator(_share)], int]]
    share_with_fewer_neighbours: NotRequired[float]
    recall: NotRequired[float]
    recall_asked: NotRequired[float]
    recall_error: NotRequired[float]
    recall_queries: NotRequired[int]


class AllFacts(TypedDict):
    """The facts of each layer and of all layers."""

    layers: dict[str, Facts]
    all: Facts


class Coarse(TypedDict):
    """Layers whose graphs have the nodes of their own, coarser grids (`spectral_graph.graph.layer_grids`)."""

    mode: Literal["bilinear", "area"]
    grids: dict[PlainName, Annotated[list[Annotated[int, Field(gt=0, lt=2**15)]], Field(min_length=2, max_length=2)]]


class _Both(TypedDict):
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


class BatchAttributes(_Both):
    """How a graph of scope `batch` was built, and what is known about it once it is finished."""

    scope: Literal["batch"]
    batch: int


class DatasetAttributes(_Both):
    """The same of scope `dataset`."""

    scope: Literal["dataset"]
    neighbours: str


GraphAttributes = BatchAttributes | DatasetAttributes
_FORM: TypeAdapter[GraphAttributes] = TypeAdapter(Annotated[GraphAttributes, Field(discriminator="scope")])


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
    return validated(store.attributes, _FORM, store.path / "zarr.json", _CURE)
