"""The commands whose result is a text on standard output: `spectral-graph info` and `spectral-graph models`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from spectral_graph.progress import Reporter
from spectral_graph.text.columns import output_width

INFO_KEYS = """\
--json writes one object to standard output. RUN: key `run` with
run, version, preset, created, command, stages, input, affinities, scores,
report. --backends: key `operators` with version, python, packages,
instruction_set, uncompiled, threads, cuda, gpus, backends. What is not known
is null. spectral_graph/runs/facts.py and spectral_graph/ops/describe.py tell
what each entry holds."""
MODELS_KEYS = """\
--json writes one object to standard output: key `models` with a list of
model, layers, heads and pixels_a_node (smallest and largest), source, here."""


def info(run: Path | str | None, backends: bool, as_json: bool, reporter: Reporter) -> str:
    """Return what a run holds, how the operators are computed, or both.

    Args:
        run: a run directory, or a URL as a str; None for none.
        backends: whether to tell about the operators.
        as_json: JSON in the place of text.
        reporter: shows the progress of a download.

    Raises:
        FormatError: there is no run, or a part of it is damaged.
        RemoteError: the URL cannot be read.
    """
    facts: dict[str, Any] = {}
    texts, width = [], output_width()
    if backends:
        from spectral_graph.ops.describe import operator_facts, render_operators

        facts["operators"] = operators = operator_facts()
        texts.append(render_operators(operators, width))
    if run is not None:
        from spectral_graph.cli.info import render
        from spectral_graph.runs.facts import run_facts

        if isinstance(run, str):
            from spectral_graph.remote.sync import published_facts

            facts["run"] = found = published_facts(run, reporter)
        else:
            facts["run"] = found = run_facts(run)
        texts.append(render(found, width))
    return _json(facts) if as_json else "\n\n".join(texts)


def models(as_json: bool) -> str:
    """Return the list of the models that have a short name."""
    from spectral_graph.features.listing import model_records, render_models

    records = model_records()
    return _json({"models": records}) if as_json else render_models(records, output_width())


def _json(value: Any) -> str:
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    """Return a value with null for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
