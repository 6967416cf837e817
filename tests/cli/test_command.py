"""Where the program begins: Ctrl-C at any import ends it without a traceback; misspelt options get an answer."""

import os
import signal
import subprocess
import sys

import pytest

from spectral_graph.cli import commands
from spectral_graph.cli.entry import STOPPED, main

INTERRUPTED = """
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
load = builtins.__import__
def interrupted(name, *rest, **more):
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest, **more)
builtins.__import__ = interrupted
from spectral_graph.cli.entry import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("module", ["argparse", "pydantic", "spectral_graph.config", "numpy"])
def test_an_interrupt_in_an_import_ends_without_a_word(module):
    command = [sys.executable, "-c", INTERRUPTED, module, "info", "nowhere"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (STOPPED, b"", b"")


def test_an_interrupt_before_the_work_begins_has_its_status_and_the_handler_is_given_back(monkeypatch):
    def stop(*_):
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(commands, "main", stop)
        assert main([]) == STOPPED
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_is_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(commands, "main", lambda *_: signal.getsignal(signal.SIGINT))
        assert main([]) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--rot", "photos"], "unrecognized arguments: --rot photos; did you mean --root?"),
        (["solve", "run", "--chanels=4"], "--chanels=4; did you mean --channels?"),
        (["extract", "--out", "run"], "--out; the folder of the run goes without a name: spectral-graph extract RUN"),
        (["image", "photo", "--cluters", "4"], "did you mean --clusters?"),
        (["build", "--zzzz"], "unrecognized arguments: --zzzz\n"),
        (["models", "--quiett"], "unrecognized arguments: --quiett\n"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_the_nearest(capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_info_does_not_load_torch():
    """It is a second of waiting for what needs none of it."""
    code = "import sys, spectral_graph.cli.info; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], timeout=60).strip() == b"False"
