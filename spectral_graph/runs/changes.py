"""Refuse to resume a run with other options or other input than those that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectral_graph.config import PLACE, STAGES, RunConfig, stage_of
from spectral_graph.errors import StaleRunError

_ELSE = "or name another folder with `out`"


def refuse_changes(
    manifest: Mapping[str, Any], config: RunConfig, inputs: Mapping[str, str], last: str, force: str | None, run: Path
) -> None:
    """Refuse what differs from run.json, unless the stages that depend on it are recomputed.

    Args:
        manifest: run.json.
        config: the options of this call.
        inputs: ``fingerprint`` of the photos, ``labels_fingerprint`` and ``weights_fingerprint``.
        last: the last stage that has begun.
        force: the stage that this call recomputes from; None for none.
        run: the run directory, for the message.

    Raises:
        StaleRunError: an option or the input differs; the message names it, and the stage to recompute from.
    """
    kept = STAGES[: STAGES.index(force)] if force is not None else STAGES
    kept = kept[: STAGES.index(last) + 1]
    if "extract" in kept and "labels_fingerprint" not in manifest:
        raise StaleRunError(
            f"{run} was made by an earlier version, which did not record the contents of its input; "
            f"recompute with `force=extract`, {_ELSE}"
        )
    old, new = manifest["config"], config.model_dump(mode="json")
    weights = inputs["weights_fingerprint"]
    same_weights = bool(weights) and manifest.get("weights_fingerprint") == weights
    for name, value in new.items():
        if name in PLACE or (same_weights and name == weights_option(config)):
            continue
        if old.get(name) != value and stage_of(name) in kept:
            raise StaleRunError(
                f"`{name}` is {_shown(value)}, but {run} was made with {_shown(old.get(name))}; "
                f"recompute with `force={stage_of(name)}`, {_ELSE}"
            )
    if "extract" in kept:
        if manifest["fingerprint"] != inputs["fingerprint"]:
            raise StaleRunError(
                f"the images of this data set are not those that {run} was made from; recompute with `force=extract`, "
                f"{_ELSE}"
            )
        if weights and not same_weights:
            name = weights_option(config)
            raise StaleRunError(
                f"`{name}={_shown(new[name])}` holds other weights than those that {run} was made with; recompute "
                f"with `force=extract`, {_ELSE}"
            )
    if "evaluate" in kept and manifest["labels_fingerprint"] != inputs["labels_fingerprint"]:
        raise StaleRunError(
            f"the labels of this data set are not those that {run} was evaluated with; recompute with "
            f"`force=evaluate`, {_ELSE}"
        )


def weights_option(config: RunConfig) -> str:
    """Return the option that names local weights: ``model`` names them where it is a folder."""
    return "weights" if config.weights is not None else "model"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "unset" if value is None else str(value)
