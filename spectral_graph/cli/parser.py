"""The parser of the command line, made from the options of `RunConfig` and `ImageConfig`."""

from __future__ import annotations

import argparse
import difflib
import sys
import typing
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo

from spectral_graph.cli.listing import INFO_KEYS, MODELS_KEYS
from spectral_graph.config import PRESETS, STAGES, RunConfig, stage_of
from spectral_graph.io.url import is_url, place
from spectral_graph.options.schema import flag
from spectral_graph.per_image.options import ImageConfig
from spectral_graph.text.terminal import Lasting, printable, write_result
from spectral_graph.version import __version__


class _Parser(argparse.ArgumentParser):
    """A parser that writes help to stdout as a result, and escapes control characters in errors."""

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
        help="all stages, from images to the report",
        description="Build everything: features, graphs, eigenvectors, regions, scores, report. "
        "The same command resumes a run that was stopped.",
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
        "photo and a page. Finished photos are kept when the same command is given again.",
    )
    image.add_argument("photos", type=_local, nargs="+", metavar="PHOTO", help="photo, or folder of photos")
    image.add_argument("--out", type=_local, default=Path("runs/image"), help="folder of results (runs/image)")
    image.add_argument("--force", action="store_true", help="recompute finished photos")
    image.add_argument("--quiet", action="store_true", help="print errors only")
    for name, field in ImageConfig.model_fields.items():
        _add_option(image, name, field)
    told = commands.add_parser(
        "info",
        help="show what a run holds, or how the operators are computed here",
        description="Show what a run directory holds, or how the operators are computed here.",
        epilog=INFO_KEYS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    told.add_argument("run", type=_place, nargs="?", metavar="RUN", help="run directory, or a URL")
    told.add_argument("--backends", action="store_true", help="operators, instruction set, threads, GPU, backends")
    told.add_argument("--quiet", action="store_true", help="print the result and errors only")
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


def suggestion(unknown: str, command: str) -> str:
    """Return what an unknown argument was probably meant to be, as the end of a message, or nothing."""
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
