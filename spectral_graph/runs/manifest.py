"""run.json: options, preset, versions, fingerprints of the input, and the state and cost of every stage."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, TypeAdapter
from typing_extensions import TypedDict

from spectral_graph.config import STAGES
from spectral_graph.errors import FormatError, MissingDataError
from spectral_graph.io.files import read_json
from spectral_graph.io.inside import distinct, shown
from spectral_graph.io.validation import validated

FORMAT = 1
FORGETTING = "forgetting"
"""Entry of run.json while the results of a stage, and of those after it, are being removed: the stage."""
_CURE = "recompute the run in another folder"
RENAMED = {"yardstick": "optimality"}
"""Options and notes of runs of earlier versions, and their names today."""


class _Stage(TypedDict):
    state: Literal["open", "running", "complete"]
    seconds: NotRequired[Annotated[float, Field(ge=0)]]
    peak_bytes: NotRequired[Annotated[int, Field(ge=0, lt=2**63)]]


class _Options(TypedDict):
    """The options that are read from here; all of them are `spectral_graph.config.RunConfig`."""

    dataset: str
    kinds: Annotated[list[Literal["vv", "qk", "kk"]], AfterValidator(distinct), Field(min_length=1)]


class _Manifest(TypedDict):
    version: str
    versions: dict[str, str]
    preset: str
    config: _Options
    given: dict[str, Any]
    fingerprint: str
    labels_fingerprint: NotRequired[str]
    weights_fingerprint: NotRequired[str]
    created: str
    command: NotRequired[str]
    stages: dict[str, _Stage]
    forgetting: NotRequired[str]


_FORM = TypeAdapter(_Manifest)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read run.json of a run directory.

    Raises:
        FormatError: there is no run, or its run.json is not one, see `checked_manifest`.
    """
    file = path / "run.json"
    if not file.is_file():
        raise FormatError(f"{path} holds no run (no run.json); make one with: spectral-graph build --out {path}")
    return checked_manifest(read_json(file, _CURE), file, _CURE)


def checked_manifest(manifest: Any, place: Path | str, cure: str) -> dict[str, Any]:
    """Return the content of a run.json, of a folder or of a URL, once it was found to be one.

    Args:
        manifest: decoded JSON.
        place: where it was read, for the message.
        cure: what to do if it is damaged, for the message.

    Raises:
        FormatError: it is damaged, contradicts itself, or was written by another format.
    """
    if not isinstance(manifest, dict):
        raise FormatError(f"{place} is damaged (it is no JSON object); {cure}")
    if type(manifest.get("format")) is not int or manifest["format"] != FORMAT:
        raise FormatError(f"{place} has format {shown(manifest.get('format'))}, this version reads {FORMAT}; {cure}")
    for part in ("config", "given"):
        if isinstance(manifest.get(part), dict):
            manifest[part] = renamed(manifest[part])
    validated(manifest, _FORM, place, cure)
    untold = [name for name in STAGES if name not in manifest["stages"]]
    untold += [] if manifest.get(FORGETTING, STAGES[0]) in STAGES else [shown(manifest[FORGETTING])]
    if untold:
        raise FormatError(f"{place} is damaged (it has no stage {untold[0]}); {cure}")
    if FORGETTING in manifest:
        forgotten = STAGES[STAGES.index(manifest[FORGETTING]) :]
        kept = [name for name in forgotten if manifest["stages"][name]["state"] != "open"]
        if kept:
            raise FormatError(
                f"{place} is damaged (stage {kept[0]} is not open, though {manifest[FORGETTING]} is being removed); "
                f"{cure}"
            )
    return manifest


def renamed(entries: dict[str, Any]) -> dict[str, Any]:
    """Return entries that an earlier version wrote under their names of today."""
    return {RENAMED.get(name, name): value for name, value in entries.items()}


def no_run(command: str, run: Path, url: str | None = None) -> MissingDataError:
    """Return the error of a command that resumes a run, where there is none and no data set was named.

    Args:
        command: the stage that was called for.
        run: the folder.
        url: where the run was looked for, if that is not the folder.
    """
    runs = [] if url else [path.parent.name for path in run.parent.glob("*/run.json")]
    near = difflib.get_close_matches(run.name, runs, 1)
    meant = f"did you mean {run.parent / near[0]}? If not, " if near else ""
    return MissingDataError(
        f"{url or run} holds no run (no run.json); {meant}make one with: spectral-graph build --out {url or run}, or "
        f"name the data set that {command} starts from with `dataset`"
    )
