"""Scores of several K-means seeds as mean and standard deviation, so that no seed is picked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spectral_graph.errors import ConfigError
from spectral_graph.evaluate.scores import Scores


def summarise(runs: Sequence[Scores]) -> dict[str, Any]:
    """Mean and sample standard deviation of the scores of several runs that differ in the seed only.

    Args:
        runs: scores under one matching and over one set of classes, one for each seed.

    Returns:
        A dict that JSON can hold: `matched_by`, `runs` (their number), `miou`, `miou_all`, `accuracy` and
        `classes` (name to IoU). Each of those is a dict of `mean`, `sd` (divisor n - 1; None with fewer
        than two values) and `values` (one for each run, in order). A run in which a score is undefined has
        None among the values and no part in the mean; `mean` is None if that is so in all of them.

    Raises:
        ConfigError: there is no run, or the runs differ in matching or classes.
    """
    if not runs:
        raise ConfigError("there are no scores to summarise; run at least one seed")
    names = [entry.name for entry in runs[0].classes]
    for index, run in enumerate(runs):
        if run.matched_by != runs[0].matched_by or [entry.name for entry in run.classes] != names:
            raise ConfigError(
                f"scores {index} ({run.matched_by}, {len(run.classes)} classes) and 0 ({runs[0].matched_by}, "
                f"{len(names)} classes) differ in matching or classes; summarise each kind on its own"
            )
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the class name {double!r} occurs more than once; give each class its own name")
    return {
        "matched_by": runs[0].matched_by,
        "runs": len(runs),
        "miou": _mean_and_sd([run.miou for run in runs]),
        "miou_all": _mean_and_sd([run.miou_all for run in runs]),
        "accuracy": _mean_and_sd([run.accuracy for run in runs]),
        "classes": {name: _mean_and_sd([run.classes[c].iou for run in runs]) for c, name in enumerate(names)},
    }


def _mean_and_sd(values: list[float | None]) -> dict[str, Any]:
    defined = [value for value in values if value is not None]
    mean = math.fsum(defined) / len(defined) if defined else None
    sd = None
    if mean is not None and len(defined) > 1:
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in defined) / (len(defined) - 1))
    return {"mean": mean, "sd": sd, "values": values}
