"""A real disk that is full: a small tmpfs, filled up but for some room, with ever more room."""

import json
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from spectral_graph.cli.commands import main
from spectral_graph.errors import DiskFullError
from spectral_graph.graph.csr_rows import CsrRows
from spectral_graph.graph.lists import ListFiles

SWEEP = """
import json, pathlib, shutil, sys
from spectral_graph.cli.commands import main
disk, step, *arguments = sys.argv[1:]
disk, room = pathlib.Path(disk), 0
ballast = disk / "ballast"
while True:
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - room)))
    code = main(arguments)
    ballast.unlink()
    stages = json.loads((disk / "run" / "run.json").read_text())["stages"]
    print(code, next((name for name, record in stages.items() if record["state"] != "complete"), "-"), flush=True)
    if code != 2:
        break
    room += int(step)
"""

OWN = ("run.json", ".inputs.json", ".lock")
"""Files that hold times, which differ between two runs."""


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_neighbour_lists_that_do_not_fit_are_not_published(tmp_path):
    """The limit on a file's size stands for the disk; the bytes stay in a buffer until the file is closed."""
    lists = CsrRows(np.array([0, 100]), np.arange(100, dtype=np.int32), np.ones(100, np.float32))
    files = ListFiles(tmp_path, np.array([0, 1]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="is full"):
            files.write(0, lists)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not files.has(0)
    files.write(0, lists)
    np.testing.assert_array_equal(files.read(0).indices, lists.indices)


def test_a_run_on_a_full_disk_stops_in_words_and_goes_on_when_there_is_room(options, disk, tmp_path):
    options |= {"kinds": "vv", "scope": "dataset", "kmeans_seeds": "0"}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    whole = tmp_path / "whole"
    assert main(["extract", str(whole), *flags, "--quiet"]) == 0
    shutil.copytree(whole, disk / "run")
    assert main(["segment", str(whole), "--quiet"]) == 0

    sweep = [sys.executable, "-c", SWEEP, str(disk), str(16 << 10), "segment", str(disk / "run"), "--quiet"]
    done = subprocess.run(sweep, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    *failed, last = [line.split() for line in done.stdout.splitlines()]
    assert last == ["0", "evaluate"]
    assert {"graph", "solve"} <= {stage for _, stage in failed}
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(errors) == len(failed)
    assert all("is full" in line or "GB left; free some space" in line for line in errors), errors
    files = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name not in OWN]
    for path in files:
        assert (disk / "run" / path).read_bytes() == (whole / path).read_bytes(), path
    assert json.loads((disk / "run" / "run.json").read_text())["stages"]["graph"]["state"] == "complete"
