"""The stage that makes a file of a run, and the files that a stage reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spectral_graph.config import KINDS, STAGES
from spectral_graph.errors import UnsafePathError
from spectral_graph.runs.directory import OUTPUTS

MANIFEST = "run.json"

_RESULTS = (
    "images.json",
    "features.zarr/zarr.json",
    "features.zarr/final",
    "{kind}/graph.zarr/zarr.json",
    "{kind}/bank",
    "{kind}/ortho",
    "regions.zarr",
    "metrics.json",
)

INPUTS: dict[str, tuple[str, ...]] = {
    "extract": (),
    "graph": ("images.json", "features.zarr"),
    "solve": ("images.json", "{kind}/graph.zarr"),
    "orthogonalise": ("images.json", "{kind}/graph.zarr", "{kind}/bank"),
    "segment": _RESULTS,
    "evaluate": _RESULTS,
    "report": _RESULTS,
}
"""The outputs of other stages that a stage reads. The features, by far the largest part, are for the graph only."""


def paths_of(patterns: Iterable[str]) -> list[str]:
    """Return the patterns with every kind in the place of `{kind}`."""
    return [p.format(kind=kind) for p in patterns for kind in (KINDS if "{kind}" in p else ("",))]


_OWNERS = {path: stage for stage, patterns in OUTPUTS.items() for path in paths_of(patterns)}


def stage_of_file(path: str) -> str | None:
    """Return the stage that makes a file, None for one that no stage makes."""
    return next((stage for part, stage in _OWNERS.items() if within(path, part)), None)


def within(path: str, part: str) -> bool:
    """Return whether `path` is the file `part`, or lies in the folder `part`."""
    return path == part or path.startswith(f"{part}/")


def stages_to_run(manifest: dict[str, Any], until: str, force: str | None) -> list[str]:
    """Return the stages that a command with these options computes."""
    redone = STAGES.index(force) if force is not None else len(STAGES)
    asked = STAGES[: STAGES.index(until) + 1]
    return [name for i, name in enumerate(asked) if i >= redone or name not in complete_stages(manifest)]


def complete_stages(manifest: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the records of the complete stages, in order; {} without a manifest."""
    records = {} if manifest is None else manifest["stages"]
    return {name: records[name] for name in STAGES if records.get(name, {}).get("state") == "complete"}


def local_files(run: Path, stages: Iterable[str]) -> Iterator[str]:
    """Yield the paths of all files in the outputs of `stages`, but unfinished ones (with a dot).

    Raises:
        UnsafePathError: an output is, or holds, a symbolic link. Its target is no part of the run: it must be neither
            published nor replaced.
    """
    for part in paths_of(pattern for stage in stages for pattern in OUTPUTS[stage]):
        root = run
        for name in part.split("/"):
            root /= name
            refuse_link(root)
        if root.is_file():
            yield part
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = [Path(folder, name) for name in files if not name.startswith(".")]
            for path in (*(Path(folder, name) for name in folders), *paths):
                refuse_link(path)
            yield from (path.relative_to(run).as_posix() for path in paths if path.is_file())


def refuse_link(path: Path) -> None:
    """Raise UnsafePathError if `path` is a symbolic link."""
    if path.is_symlink():
        raise UnsafePathError(
            f"{path} is a symbolic link to {path.readlink()}; the folder of a run behind a URL holds files only: "
            "remove the link, or put its target in its place"
        )
