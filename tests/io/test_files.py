"""Publishing: after an error or a kill at any point, a path holds all of the old content or all of the new."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from spectral_graph.errors import DiskFullError
from spectral_graph.io.files import publish_file, publish_folder, write_atomically

KILLED = 9
CHILD = f"""
import os, sys
from pathlib import Path
from spectral_graph.io.files import publish_file, publish_folder

path, kind, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def kill(event, _):
    global left
    left -= event.startswith(("os.", "open", "shutil."))
    if left < 0:
        os._exit({KILLED})

def fill(folder):
    for name in "ab":
        (folder / name).write_text("new")

sys.addaudithook(kill)
if kind == "file":
    with publish_file(path) as aside:
        aside.write_text("new")
else:
    with publish_folder(path) as aside:
        fill(aside)
"""


def content(path: Path) -> dict[str, str] | str | None:
    """What a reader finds."""
    if path.is_dir():
        return {file.name: file.read_text() for file in path.iterdir()}
    return path.read_text() if path.exists() else None


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("old", [False, True])
def test_a_kill_at_any_point_leaves_the_old_or_the_new_content(tmp_path, kind, old):
    new = "new" if kind == "file" else {"a": "new", "b": "new"}
    for calls in range(100):
        path = tmp_path / str(calls) / "x"
        path.parent.mkdir()
        if old and kind == "file":
            path.write_text("old")
        elif old:
            path.mkdir()
            (path / "c").write_text("old")
        before = content(path)
        ended = subprocess.run([sys.executable, "-c", CHILD, str(path), kind, str(calls)], check=False).returncode
        assert ended in (0, KILLED)
        found = content(path)
        between = kind == "folder" and found is None and content(path.with_name(".x.old")) == before
        assert found in (before, new) or between

        with pytest.raises(ZeroDivisionError), (publish_file if kind == "file" else publish_folder)(path):
            _ = 1 / 0
        assert content(path) == (before if between else found)
        assert [file.name for file in path.parent.iterdir()] == ([] if content(path) is None else ["x"])
        if ended == 0:
            break
    assert ended == 0 and calls > 5


@pytest.mark.parametrize("publish", [publish_file, publish_folder])
def test_a_full_disk_is_named_and_leaves_the_old_content(tmp_path, publish):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(DiskFullError, match=str(path)), publish(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [file.name for file in tmp_path.iterdir()] == ["x"] and path.read_text() == "old"


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("os.fsync", lambda _: done.append("sync"))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: done.append("rename") or replace(self, to))
    write_atomically(tmp_path / "deep" / "x", b"1")
    assert done == ["sync", "rename", "sync"]


@pytest.mark.parametrize("publish", [publish_file, publish_folder])
def test_a_link_beside_the_path_is_not_followed(tmp_path, publish):
    (tmp_path / "witness").mkdir()
    (tmp_path / ".x.partial").symlink_to(tmp_path / "witness")
    with publish(tmp_path / "x") as aside:
        if publish is publish_file:
            aside.write_text("new")
    assert list((tmp_path / "witness").iterdir()) == [] and not (tmp_path / "x").is_symlink()
