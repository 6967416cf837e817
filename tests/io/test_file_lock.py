"""File locks, and the package on a system without POSIX: everything can be imported, and Windows locks a byte."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import spectral_graph
from spectral_graph import memory
from spectral_graph.io import file_lock
from spectral_graph.io.file_lock import lock_file

EVERYTHING = """
import importlib, os, pkgutil, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
del os.sysconf, os.posix_fallocate, os.O_DIRECT
import spectral_graph
left_out = {"spectral_graph._C", "spectral_graph._CUDA"}
for module in pkgutil.walk_packages(spectral_graph.__path__, "spectral_graph."):
    if module.name not in left_out and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in spectral_graph.__all__:
    getattr(spectral_graph, name)
import numpy as np
rows = np.random.default_rng(0).standard_normal((60, 8)).astype("f4")
found = spectral_graph.spectral_embedding(rows, nodes_per_image=15, n_components=4, c_intra=3, c_inter=3)
print(len(found.vectors))
"""


def test_everything_is_imported_and_an_embedding_made_without_the_modules_of_posix():
    result = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["60"]


def test_a_lock_is_held_by_one_and_ends_with_its_file(tmp_path):
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    assert lock_file(first, wait=False)
    assert not lock_file(second, wait=False)
    os.close(first)
    assert lock_file(second, wait=True)
    os.close(second)


def test_the_lock_of_windows_is_on_a_byte_beyond_the_file(tmp_path, monkeypatch):
    tried, free = [], [False, False, True]

    def locking(descriptor, mode, count):
        tried.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
        if not free.pop(0):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_lock, "fcntl", None)
    monkeypatch.setattr(file_lock, "PAUSE", 0)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        assert not lock_file(descriptor, wait=False)
        assert lock_file(descriptor, wait=True)
    finally:
        os.close(descriptor)
    assert tried == [(file_lock.PLACE, 2, 1)] * 3 and (tmp_path / "lock").stat().st_size == 0


def test_memory_limits_have_defaults(monkeypatch):
    monkeypatch.setattr(memory, "_GROUPS", memory.Path("/nowhere"))
    monkeypatch.delattr(os, "sysconf")
    assert memory.limit_bytes() == memory.UNKNOWN_BYTES
    monkeypatch.setattr(memory, "_STATUS", memory.Path("/nowhere"))
    monkeypatch.setattr(memory, "resource", None)
    assert memory.peak_bytes() == 0


@pytest.mark.parametrize("name", ["fcntl", "resource"])
def test_the_modules_of_posix_are_named_in_one_place_each(name):
    root = Path(spectral_graph.__file__).parent
    found = [file.name for file in root.rglob("*.py") if f"import {name}\n" in file.read_text(encoding="utf-8")]
    assert found == [{"fcntl": "file_lock.py", "resource": "memory.py"}[name]]
