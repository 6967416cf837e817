"""A read that never returns does not keep the process alive."""

import os
import signal
import subprocess
import sys

BLOCKED = """
import os, sys
from spectral_graph.data.folder import ImageFolder

read = ImageFolder.read_image

def block(self, record):
    if record.id == "03":
        print("blocked", flush=True)
        os.read(int(sys.argv[1]), 1)  # as a network disk that is gone
    return read(self, record)

ImageFolder.read_image = block
from spectral_graph.cli.commands import main
sys.exit(main(sys.argv[2:]))
"""


def test_sigterm_ends_an_extraction_whose_threads_are_blocked(options, tmp_path):
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    empty, end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED, str(empty), "extract", str(tmp_path / "run"), *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[empty],
    )
    try:
        assert process.stdout.readline() == "blocked\n"
        process.send_signal(signal.SIGTERM)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 143 and "Traceback" not in words, words
    finally:
        process.kill()
        process.wait()
        os.close(empty)
        os.close(end)
