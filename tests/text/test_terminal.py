"""Output of the program: any terminal shows it, readers may disconnect, and no control characters pass."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_graph.cli.commands import main
from spectral_graph.config import STAGES
from spectral_graph.features.catalogue import CATALOGUE
from spectral_graph.progress import Reporter
from spectral_graph.text.terminal import READER_GONE, printable

PROGRAM = "import sys; from spectral_graph.cli.entry import main; sys.exit(main(sys.argv[1:]))"
HOSTILE = "caf\u00e9 \udcff\x1b[31m\n\u202egnp.\u732b [red]:heart:"
ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
LATIN = {"PYTHONIOENCODING": "latin-1:strict", "PYTHONUTF8": "0"}
MANY = """
import json, os, sys
from spectral_graph.cli.entry import main
for arguments in json.loads(sys.argv[1]):
    try:  # the arguments as Python decodes them in this locale
        code = main([os.fsdecode(part.encode("utf-8", "surrogateescape")) for part in arguments])
    except SystemExit as ended:
        code = ended.code
    print("code", code, file=sys.stderr, flush=True)
"""
RESULTS = (["--help"], ["info", "RUN"])


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of which only the manifest is there, as a foreign one may be."""
    folder = tmp_path / "run"
    folder.mkdir()
    manifest = {
        "format": 1,
        "version": "0.1.0",
        "versions": {},
        "preset": "best\x1b[31m",
        "config": {"dataset": "folder", "kinds": ["vv"]},
        "given": {},
        "fingerprint": "",
        "created": "2025-01-01T00:00:00",
        "command": "spectral-graph build --root 'caf\u00e9 \x1b[31m\u732b'",
        "stages": {name: {"state": "open"} for name in STAGES},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def program(arguments, code=PROGRAM, env=None, **streams):
    """Run the program; its streams are pipes unless given."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    full = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | (env or {})
    return subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=120, env=full, **streams)


def of_run(arguments, run):
    return [str(run) if part == "RUN" else part for part in arguments]


def without_reader() -> int:
    """Return a pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


@pytest.mark.parametrize("arguments", RESULTS, ids=" ".join)
def test_result_without_reader_exits_silently(run, arguments):
    pipe = without_reader()
    done = program(of_run(arguments, run), stdout=pipe)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (READER_GONE, b"")
    done = program(of_run(arguments, run), stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (READER_GONE, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["info", "RUN"]], ids=" ".join)
def test_result_on_full_disk_is_one_line_error(run, arguments):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = program(of_run(arguments, run), stdout=full)
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2 and "standard output" in line and "No space left" in line


WORK = """
import sys
from spectral_graph.cli import commands
from spectral_graph.cli.entry import main
from spectral_graph.progress import Reporter
def work(arguments, program):
    reporter = Reporter()
    with reporter.track("work", 5, "pieces") as progress:
        for piece in range(5):
            reporter.note(f"piece {piece}" + "." * 70000)
            progress.advance()
            print("a library's print", "." * 70000, file=sys.stderr)
    with open(arguments[0], "w") as file:
        file.write("done")
    return 0
commands.main = work
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("stream", ["no reader", "closed", "full", "stdin too"])
def test_work_continues_when_notes_cannot_be_written(tmp_path, stream):
    out, given = tmp_path / "out", {}
    if stream == "no reader":
        given = {"stderr": without_reader(), "stdout": without_reader()}
    elif stream == "full":
        given = {"stderr": os.open("/dev/full", os.O_WRONLY)}
    else:
        closed = (0, 1, 2) if stream == "stdin too" else (2,)
        given = {"stdout": None, "stderr": None, "preexec_fn": lambda: [os.close(number) for number in closed]}
    code = WORK.replace("file=sys.stderr)", 'file=sys.stderr) if sys.argv[2] == "closed" else None')
    done = program([str(out), "closed" if given.get("preexec_fn") else stream], code, **given)
    for number in {given.get("stderr"), given.get("stdout")} - {None}:
        os.close(number)
    assert done.returncode == 0
    assert out.read_text() == "done"


@pytest.mark.parametrize("env", [ASCII, LATIN, {"LC_ALL": "C"}], ids=["ascii", "latin", "C"])
def test_odd_names_are_escaped_in_every_encoding(run, tmp_path, env):
    odd = tmp_path / "\u732b \x1b[31m"
    run.rename(odd)
    commands = [["info", HOSTILE], ["build", "--root", HOSTILE, "--out", HOSTILE], ["info", "x", f"--{HOSTILE}"]]
    done = program([json.dumps([["info", str(odd)], *commands])], MANY, env=env)
    assert b"\x1b" not in done.stdout and b"\\x1b[31m" in done.stdout
    assert b"\x1b" not in done.stderr and b"Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith(b"code")] == [b"code 0", b"code 2", b"code 2", b"code 2"]
    told = [line for line in lines if b"error: " in line]
    assert len(told) == 3 and all(b"\\xff\\x1b[31m\\n\\" in line for line in told)


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide", "1", "20", "37", "80", "100", "400"])
@pytest.mark.parametrize("arguments", [["info", "RUN"], ["models"]], ids=" ".join)
def test_lines_fit_the_width_and_no_value_is_cut(run, columns, arguments, monkeypatch, capsys):
    for name, value in {"COLUMNS": columns, "TERM": "dumb", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(of_run(arguments, run)) == 0
    text = capsys.readouterr().out
    width = int(columns) if columns.isdecimal() and int(columns) else 100
    assert max(map(len, text.splitlines())) <= max(width, 20)
    joined = "".join(text.split()).replace("\\", "")
    if arguments == ["models"] and 20 < width < 120:
        return  # parts of the names of models are in several lines of the table
    values = [*STAGES, str(run)] if arguments[0] == "info" else [entry.source for entry in CATALOGUE.values()]
    for value in values:
        assert "".join(value.split()) in joined


@pytest.mark.parametrize("columns", ["0", "1", "7", "30", "nothing"])
def test_help_at_any_width(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    for command in ([], ["build"], ["image"], ["info"], ["models"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0 and "usage: spectral-graph" in " ".join(capsys.readouterr().out.split())


@given(st.text())
def test_printable_text_has_no_control_characters(text):
    shown = printable(text)
    shown.encode("utf-8")
    assert all(character.isprintable() or (character.isspace() and character > "\x9f") for character in shown)
    assert len(shown.splitlines()) <= 1
    if text.isprintable():
        assert shown == text


class Terminal(io.StringIO):
    """A terminal of one encoding, which fails as a real one does."""

    encoding = "ascii"

    def isatty(self):
        return True

    def write(self, text):
        text.encode(self.encoding)
        return super().write(text)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_reporter_escapes_names_and_ignores_markup(monkeypatch, term):
    monkeypatch.setenv("TERM", term)
    stream = Terminal()
    reporter = Reporter(stream)
    reporter.note(HOSTILE)
    assert stream.getvalue() == "caf\\xe9 \\xff\\x1b[31m\\n\\u202egnp.\\u732b [red]:heart:\n"
    with reporter.track(f"search {HOSTILE}", 3, "nodes") as progress:
        progress.advance(3)
    assert "search caf\\xe9" in stream.getvalue() and "[red]" in stream.getvalue() and "3/3" in stream.getvalue()
    assert ("\x1b" in stream.getvalue()) == (term != "dumb")
