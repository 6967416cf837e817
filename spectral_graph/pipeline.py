"""All stages in order: the Python form of `python -m spectral_graph.build`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_graph.config import STAGES, RunConfig, make_config
from spectral_graph.data import Dataset, open_dataset
from spectral_graph.data.inputs import TABLE, Digests, labels_fingerprint, photos_fingerprint, weights_fingerprint
from spectral_graph.distributed.join import join_comm, local_rank
from spectral_graph.errors import ConfigError, MissingDataError
from spectral_graph.io.files import reporting_full_disk
from spectral_graph.io.readable import readable
from spectral_graph.progress import Reporter
from spectral_graph.runs.directory import RunDirectory
from spectral_graph.runs.manifest import read_manifest
from spectral_graph.stages.context import Context
from spectral_graph.stages.label_checks import check_labels

if TYPE_CHECKING:
    from spectral_graph.runs.open_run import Run

SHARED = ("extract", "graph", "solve", "orthogonalise")
"""Stages that all processes work on; the others are done by the first one while the rest wait."""


def _stage(name: str) -> Callable[[Context], None]:
    """Return the function of a stage; modules are imported when their stage runs, to keep `info` and help quick."""
    if name == "extract":
        from spectral_graph.stages.extract import extract as function
    elif name == "graph":
        from spectral_graph.stages.graph import build_graphs as function
    elif name == "solve":
        from spectral_graph.stages.solve import solve as function
    elif name == "orthogonalise":
        from spectral_graph.stages.orthogonalise import orthogonalise_banks as function
    elif name == "segment":
        from spectral_graph.stages.segment import segment as function
    elif name == "evaluate":
        from spectral_graph.stages.evaluate import evaluate as function
    else:
        from spectral_graph.stages.report import report as function
    return function


def _check_device(config: RunConfig, out: Path, force: str | None) -> None:
    """Refuse a device that is not there before anything is written; a finished stage needs none."""
    begun = (out / "run.json").exists() and force != "extract"
    if config.device == "cpu" or (begun and read_manifest(out)["stages"]["extract"]["state"] == "complete"):
        return
    from spectral_graph.features.device import find_device

    find_device(config.device, local_rank())


def _require_data(config: RunConfig, out: Path) -> None:
    """Say that the data of a run are gone before the data set does, which knows nothing of the run."""
    if config.root is not None and not config.root.is_dir() and (out / "run.json").exists():
        raise MissingDataError(
            f"`root={config.root}` is not a folder: the data set that {out} was made from lies there no more; name its "
            "new place with `root`"
        )


def _in_place(config: RunConfig, root: Path | None) -> RunConfig:
    """Return the options with absolute paths, so that the run can be resumed from another folder.

    Args:
        config: the options.
        root: the folder of the data set, also where the variable names it.
    """
    from spectral_graph.features.catalogue import model_folder

    places = {"root": root, "weights": config.weights, "warm_start": config.warm_start}
    found: dict[str, Any] = {name: place.absolute() for name, place in places.items() if place is not None}
    folder = model_folder(config.model)
    return config.model_copy(update=found if folder is None else {**found, "model": str(folder.absolute())})


def _fingerprints(config: RunConfig, dataset: Dataset, digests: Digests, reporter: Reporter) -> dict[str, str]:
    """Return the fingerprints of the input, as `RunDirectory.open` takes them."""
    from spectral_graph.features.catalogue import model_folder

    return {
        "fingerprint": photos_fingerprint(dataset, digests, reporter),
        "labels": labels_fingerprint(dataset, digests, reporter),
        "weights": weights_fingerprint(config.weights or model_folder(config.model), digests, reporter),
    }


def run(
    dataset: str = "coco",
    out: str | Path | None = None,
    *,
    preset: str = "best",
    until: str = "report",
    force: str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Compute a run, or resume it, and return it opened: the Python form of `python -m spectral_graph.build`.

    Stages that an earlier call finished with the same options are kept.

    Args:
        dataset: coco, cocostuff, cityscapes, voc, camvid, or folder.
        out: the run directory; runs/DATASET-SPLIT-MODEL by default.
        preset: best, paper or released.
        until: the last stage to compute.
        force: recompute from this stage on.
        quiet: show no progress.
        options: all options of `spectral-graph build --help`, by name: root, split, size, model, layers, kinds, ...

    Raises:
        SpectralGraphError: see the stages; finished stages are kept, and the same call resumes.
    """
    from spectral_graph.runs.open_run import open_run

    given = {"dataset": dataset, **options}
    config = make_config(given, preset)
    path = default_out(config) if out is None else Path(out).expanduser()
    reporter = Reporter(quiet=quiet)
    run_pipeline(config, path, preset=preset, until=until, force=force, given=given, reporter=reporter)
    return open_run(path)


def default_out(config: RunConfig) -> Path:
    """Return the run directory of a call that names none."""
    return Path("runs") / "-".join(filter(None, (config.dataset, config.split, config.model)))


def run_pipeline(
    config: RunConfig,
    out: str | Path,
    *,
    preset: str = "best",
    until: str = "report",
    force: str | None = None,
    command: str = "",
    given: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    publish: Callable[[], None] | None = None,
) -> Path:
    """Run all stages up to `until`; those that a former call finished are kept.

    Under `torchrun` the processes share the work on one run directory, which all of them must see.

    Args:
        config: the options, from `spectral_graph.config.make_config`.
        out: the run directory.
        preset: the preset that the options started from; recorded.
        until: the last stage to run.
        force: recompute from this stage on.
        command: how the program was called; shown in the report.
        given: the options that the user chose, for later calls on the same run that leave them out; all by default.
        reporter: where progress goes.
        publish: called after each stage that was computed, while the run is still locked; by one process only.

    Returns:
        The run directory.

    Raises:
        SpectralGraphError: see the stages; finished stages are kept, and the same call resumes there.
    """
    out = Path(out)
    for name, stage in (("until", until), ("force", force)):
        if stage not in STAGES and (name == "until" or stage is not None):
            raise ConfigError(f"`{name}={stage!r}`: there is no such stage; give one of {', '.join(STAGES)}")
    with join_comm() as comm:
        shown = reporter or Reporter() if comm.is_rank0 else Reporter(quiet=True)
        _require_data(config, out)
        dataset = open_dataset(config.dataset, config.root, config.split, config.limit, config.labels, config.ignore)
        config = _in_place(config, dataset.root)
        for note in (*dataset.notes, *dataset.left_out, *check_labels(config, dataset)):
            shown.note(note)
        _check_device(config, out, force)
        with RunDirectory(out, comm) as opened:
            digests = Digests(out / TABLE)
            inputs = _fingerprints(config, dataset, digests, shown) if comm.is_rank0 else {"fingerprint": ""}
            opened.open(config, preset, force=force, **inputs)
            if comm.is_rank0:
                digests.save()
            _record_call(opened, config, command, given)
            _compute(Context(config, opened, dataset, shown, comm), until, publish)
    return out


def _record_call(opened: RunDirectory, config: RunConfig, command: str, given: Mapping[str, Any] | None) -> None:
    """Write to run.json how the run was called, and which options the user chose."""
    if command:
        opened.manifest["command"] = readable(command)
    options = config.model_dump(mode="json")
    chosen = options if given is None else {name: options[name] for name in given if name in options}
    # Without it a later call would look for the data where the variable points by then.
    opened.manifest["given"] = {**chosen, "root": options["root"]} if config.root is not None else chosen
    opened.save()


def _compute(context: Context, until: str, publish: Callable[[], None] | None) -> None:
    """Compute the stages that are not complete, in order, up to `until`."""
    config, opened, comm = context.config, context.run, context.comm
    missing = config.warm_start is not None and not config.warm_start.is_dir()
    if missing and not opened.complete("solve") and until not in ("extract", "graph"):
        raise ConfigError(f"`warm_start={config.warm_start}`: there is no such folder; name an earlier run")
    for name in STAGES[: STAGES.index(until) + 1]:
        if opened.complete(name):
            continue
        with reporting_full_disk(opened.path), opened.stage(name):
            if comm.is_rank0 or name in SHARED:
                _stage(name)(context)
        record = opened.manifest["stages"][name]
        context.reporter.note(f"{name}: {record['seconds']:.1f} s, peak {record['peak_bytes'] / 1e9:.2f} GB")
        if publish is not None and comm.is_rank0:
            publish()
