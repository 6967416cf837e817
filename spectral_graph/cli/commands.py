"""The command line: `spectral-graph build`, one command a stage, `spectral-graph image`, and `spectral-graph info`.

The options are those of `spectral_graph.config.RunConfig` and of `spectral_graph.per_image.options.ImageConfig`;
nothing is defined twice.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import signal
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from spectral_graph.cli.library_output import as_notes
from spectral_graph.cli.listing import INFO_KEYS, MODELS_KEYS, info, models
from spectral_graph.config import PRESETS, STAGES, RunConfig, make_config, stage_of
from spectral_graph.distributed.join import global_rank
from spectral_graph.errors import ConfigError, SpectralGraphError
from spectral_graph.io.files import remove
from spectral_graph.io.url import is_url, place, work_folder
from spectral_graph.options.schema import as_typed, flag
from spectral_graph.per_image.options import ImageConfig, make_image_config
from spectral_graph.progress import Reporter
from spectral_graph.text.terminal import Lasting, printable, say, write_result
from spectral_graph.version import __version__

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
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(unknown[0], options.command)}")
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
        say("stopped; the same command goes on from here")
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


def _meant(unknown: str, command: str) -> str:
    if command in STAGES and unknown.split("=")[0] == "--out":
        return f"; the folder of the run goes without a name: spectral-graph {command} RUN"
    form = ImageConfig if command == "image" else RunConfig
    known = [
        *map(flag, form.model_fields),
        *(["--out"] * (command not in STAGES)),
        "--force",
        "--quiet",
        *(["--preset", "--work"] * (form is RunConfig)),
    ]
    near = difflib.get_close_matches(unknown.split("=")[0], known, 1) if command in ("build", "image", *STAGES) else []
    return f"; did you mean {near[0]}?" if near else ""


def _execute(options: argparse.Namespace, given: Sequence[str], parser: argparse.ArgumentParser, program: str) -> int:
    # Of several processes one speaks.
    quiet = getattr(options, "quiet", False) or global_rank() > 0
    reporter = Reporter(quiet=quiet, wording=lambda text: as_typed(text, OPTIONS))
    with as_notes(reporter):
        if options.command == "info":
            if options.run is None and not options.backends:
                parser.error("info needs a RUN to tell about, or --backends")
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

    leads = global_rank() == 0
    sync = RunSync(url, work, reporter if leads else Reporter(quiet=True))
    sync.reporter.note(f"{url}: worked on in {work}, published stage by stage")
    sync.pull(until, force)
    if leads:
        sync.push()  # what an interrupted call left unsent
    return sync.push


class _Parser(argparse.ArgumentParser):
    """A parser whose help is a result, and whose errors show an argument's control characters as escapes."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            if code := write_result(message):
                sys.exit(code)
        elif message:
            Lasting(sys.stderr).write(message)


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog=program if program == "spectral-graph" else "spectral-graph",
        description="Spectral graphs over the attention layers of vision models: images in, regions and scores out.",
    )
    parser.add_argument("--version", action="version", version=f"spectral_graph {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    build = commands.add_parser(
        "build",
        prog=program if program != "spectral-graph" else None,
        help="the whole way, from images to the report",
        description="Build everything: features, graphs, eigenvectors, regions, scores, report. "
        "A run that was stopped goes on when the same command is given again.",
    )
    build.add_argument(
        "--out", type=_place, default=None, help="run directory, or a URL (runs/DATASET-SPLIT-MODEL by default)"
    )
    _add_options(build)
    for stage in STAGES:
        part = commands.add_parser(
            stage,
            help=f"run the stages up to {stage}; options not given are those of the run",
            description=f"Run the stages up to {stage}. Options not given are those of the run, if there is one.",
        )
        part.add_argument("out", type=_place, metavar="RUN", help="run directory, or a URL")
        _add_options(part)
    image = commands.add_parser(
        "image",
        help="photo by photo: regions, eigenvectors and masks from all heads of all layers",
        description="Analyse photos one by one: every head of every attention layer is a graph. Writes one folder a "
        "photo and a page. Photos that are done are kept when the same command is given again.",
    )
    image.add_argument("photos", type=_local, nargs="+", metavar="PHOTO", help="photo, or folder of photos")
    image.add_argument("--out", type=_local, default=Path("runs/image"), help="folder of results (runs/image)")
    image.add_argument("--force", action="store_true", help="compute photos anew that are done")
    image.add_argument("--quiet", action="store_true", help="print errors only")
    for name, field in ImageConfig.model_fields.items():
        _add_option(image, name, field)
    told = commands.add_parser(
        "info",
        help="tell what a run holds, or how the operators are computed here",
        description="Tell what a run directory holds, or how the operators are computed here.",
        epilog=INFO_KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    told.add_argument("run", type=_place, nargs="?", metavar="RUN", help="run directory, or a URL")
    told.add_argument("--backends", action="store_true", help="operators, instruction set, threads, GPU, backends")
    told.add_argument("--quiet", action="store_true", help="beside the result, print errors only")
    listed = commands.add_parser(
        "models",
        help="list the models that have a short name, and which of them can be used here",
        description="List the models that have a short name, and which of them can be used here.",
        epilog=MODELS_KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for command in (told, listed):
        command.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), default=argparse.SUPPRESS, help="named set of options (best)"
    )
    parser.add_argument("--force", choices=STAGES, default=None, metavar="STAGE", help="recompute from STAGE on")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--work",
        type=_local,
        default=None,
        metavar="FOLDER",
        help="local folder in which a run behind a URL (s3://bucket/run) is worked on; all processes must see it "
        "(below XDG_CACHE_HOME or ~/.cache)",
    )
    groups = {stage: parser.add_argument_group(f"options of stage {stage}") for stage in STAGES}
    for name, field in RunConfig.model_fields.items():
        _add_option(groups[stage_of(name)], name, field)


def _add_option(target: argparse._ActionsContainer, name: str, field: FieldInfo) -> None:
    default = _shown(field.default)
    text = f"{field.description}{f' ({default})' if default else ''}".replace("%", "%%")
    settings: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text, "dest": name}
    if field.annotation is bool:
        settings["action"] = argparse.BooleanOptionalAction
    else:
        choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
        settings["metavar"] = "|".join(choices) if choices else name.upper()
    target.add_argument(flag(name), **settings)


def _local(text: str) -> Path:
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text} is a URL; name a local folder")
    return Path(_place(text))


def _place(text: str) -> Path | str:
    try:
        return place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shown(default: Any) -> str:
    if default is None:
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
