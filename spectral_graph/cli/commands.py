"""The command line: `spectral-graph build`, one command a stage, `spectral-graph image`, and `spectral-graph info`.

The options are those of `spectral_graph.config.RunConfig` and of `spectral_graph.per_image.options.ImageConfig`;
nothing is defined twice.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectral_graph.cli.library_output import as_notes
from spectral_graph.cli.listing import info, models
from spectral_graph.cli.parser import make_parser, suggestion
from spectral_graph.config import RunConfig, make_config
from spectral_graph.distributed.join import global_rank
from spectral_graph.errors import ConfigError, SpectralGraphError
from spectral_graph.io.files import remove
from spectral_graph.io.url import work_folder
from spectral_graph.options.schema import as_typed
from spectral_graph.per_image.options import ImageConfig, make_image_config
from spectral_graph.progress import Reporter
from spectral_graph.text.terminal import say, write_result

OPTIONS = frozenset({*RunConfig.model_fields, *ImageConfig.model_fields, "out", "preset", "force", "work"})
"""Whose names in an error are printed as they are typed."""


def main(arguments: Sequence[str] | None = None, program: str = "spectral-graph") -> int:
    """Run the command line and return the exit code.

    0 done, 2 a worded error, 130 stopped by Ctrl-C, 141 nobody reads the result, 143 stopped by SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser(program)
    options, unknown = parser.parse_known_args(given)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion(unknown[0], options.command)}")
    try:
        with _ending_at_sigterm():
            return _execute(options, given, parser, program)
    except SpectralGraphError as error:
        say(f"error: {as_typed(str(error), OPTIONS)}")  # also when --quiet
        return error.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        say(f"error: {place}{error.strerror or error}; fix this, then run the same command to resume")
        return 2
    except KeyboardInterrupt as stop:
        say("stopped; run the same command to resume")
        return 143 if isinstance(stop, Terminated) else 130


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """End at SIGTERM as at Ctrl-C; processes of torchrun leave it to torchrun."""
    if "WORLD_SIZE" in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)  # None: a handler that is not of Python


def _execute(options: argparse.Namespace, given: Sequence[str], parser: argparse.ArgumentParser, program: str) -> int:
    # Only rank 0 reports.
    quiet = getattr(options, "quiet", False) or global_rank() > 0
    reporter = Reporter(quiet=quiet, wording=lambda text: as_typed(text, OPTIONS))
    with as_notes(reporter):
        if options.command == "info":
            if options.run is None and not options.backends:
                parser.error("info needs a RUN, or --backends")
            return write_result(info(options.run, options.backends, options.json, reporter))
        if options.command == "models":
            return write_result(models(options.json))
        if options.command == "image":
            _image(options, shlex.join([program, *given]), reporter)
            return 0
        shown = given[1:] if program != "spectral-graph" else given
        _run(options, shlex.join([*program.split(), *shown]), reporter)
        return 0


def _image(options: argparse.Namespace, command: str, reporter: Reporter) -> None:
    from spectral_graph.per_image.command import run_images

    given = {name: getattr(options, name) for name in ImageConfig.model_fields if hasattr(options, name)}
    page = run_images(
        make_image_config(given), options.photos, options.out, force=options.force, command=command, reporter=reporter
    )
    reporter.note(f"done: {page}")


def _run(options: argparse.Namespace, command: str, reporter: Reporter) -> None:
    from spectral_graph.pipeline import default_out, run_pipeline
    from spectral_graph.runs.manifest import no_run, read_manifest

    given = {name: getattr(options, name) for name in RunConfig.model_fields if hasattr(options, name)}
    preset = getattr(options, "preset", "best")
    until = "report" if options.command == "build" else options.command
    out: Path | None = None
    url, publish, fetched = None, None, False
    if isinstance(options.out, str):
        url, out = options.out, options.work or work_folder(options.out)
        fetched = not (out / "run.json").exists()
        publish = _publishing(url, out, until, options.force, reporter)
    else:
        out = options.out
        if options.work is not None:
            raise ConfigError(f"--work {options.work}: a working folder is for runs that --out or RUN names by a URL")
    if options.command != "build":
        assert out is not None
        if (out / "run.json").exists():
            manifest = read_manifest(out)
            if fetched:
                _refuse_foreign_root(manifest, given, out, url)
            preset = getattr(options, "preset", manifest["preset"])
            # Only what was chosen for the run is taken over: defaults and preset stand behind it.
            given = {**manifest["given"], **given}
        elif options.command != "extract" and not given.keys() & {"dataset", "root", "split", "limit"}:
            raise no_run(options.command, out, url)
    config = make_config(given, preset)
    if out is None:
        out = default_out(config)
    run_pipeline(
        config,
        out,
        preset=preset,
        until=until,
        force=options.force,
        command=command,
        given=given,
        reporter=reporter,
        publish=publish,
    )
    result = {"report": "/report/index.html", "evaluate": "/metrics.json"}.get(until, "")
    reporter.note(f"done: {out}{result}" if url is None else f"done: {url}{result} (worked on in {out})")


def _refuse_foreign_root(manifest: dict[str, Any], given: dict[str, Any], work: Path, url: str | None) -> None:
    """Refuse to extract features from a folder that only the run.json of a URL names: they would be published there."""
    root = manifest["given"].get("root")
    if root is None or "root" in given or manifest["stages"]["extract"]["state"] == "complete":
        return
    remove(work / "run.json")  # so that the next call meets this again
    raise ConfigError(
        f"{url}: the run has no features yet, and the folder of its photos, {root!a}, is named by the run alone; if "
        "that is the folder you mean, name it with `root`"
    )


def _publishing(url: str, work: Path, until: str, force: str | None, reporter: Reporter) -> Callable[[], None]:
    """Bring the working folder of a run that is kept behind a URL up to date; return what publishes it."""
    from spectral_graph.remote.sync import RunSync

    first = global_rank() == 0
    sync = RunSync(url, work, reporter if first else Reporter(quiet=True))
    sync.reporter.note(f"{url}: worked on in {work}, published stage by stage")
    sync.pull(until, force)
    if first:
        sync.push()  # what an interrupted call left unsent
    return sync.push
