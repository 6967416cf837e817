"""Writing the report: never half-written, nothing lost."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from spectral_graph.errors import ConfigError, DiskFullError
from spectral_graph.report import page
from spectral_graph.report.page import write_report


def test_new_report_replaces_old_one(tmp_path, bare, small):
    folder = tmp_path / "deep" / "report"
    write_report(small, folder)
    (folder / "left_over.png").write_bytes(b"")
    write_report(bare, folder)
    assert [file.name for file in folder.iterdir()] == ["index.html"]
    assert [file.name for file in folder.parent.iterdir()] == ["report"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("place", ["draw", "write", "rename"])
def test_failure_keeps_old_report(monkeypatch, tmp_path, place, small):
    folder = tmp_path / "report"
    write_report(small, folder)
    before = snapshot(tmp_path)

    def fail(*_):
        raise RuntimeError("no more")

    if place == "draw":
        monkeypatch.setattr(page, "stage_chart", fail)
    elif place == "write":
        monkeypatch.setattr(page, "_write", fail)
    else:
        rename = Path.rename
        monkeypatch.setattr(
            Path, "rename", lambda self, to: fail() if self.name.endswith(".partial") else rename(self, to)
        )
    with pytest.raises(RuntimeError, match="no more"):
        write_report(replace(small, title="new"), folder)
    assert snapshot(tmp_path) == before


def test_full_disk_raises_disk_full_error(monkeypatch, tmp_path, small):
    folder = tmp_path / "report"
    write_report(small, folder)
    before = snapshot(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(page, "_write", full)
    with pytest.raises(DiskFullError, match=str(folder)):
        write_report(small, folder)
    assert snapshot(tmp_path) == before


def test_report_survives_kill_between_renames(monkeypatch, tmp_path, small):
    folder = tmp_path / "report"
    write_report(small, folder)
    before = snapshot(folder)
    folder.rename(tmp_path / ".report.old")
    (tmp_path / ".report.partial").mkdir()
    monkeypatch.setattr(page, "stage_chart", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(small, folder)
    assert snapshot(folder) == before
    assert [file.name for file in tmp_path.iterdir()] == ["report"]


def test_other_folder_is_refused_and_unchanged(tmp_path, bare):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        write_report(bare, tmp_path)
    (tmp_path / "index.html").write_text("<p>my home page</p>")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        write_report(bare, tmp_path)
    with pytest.raises(ConfigError, match=str(tmp_path)):
        write_report(bare, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_empty_folder_is_accepted(tmp_path, bare):
    (tmp_path / "report").mkdir()
    assert write_report(bare, tmp_path / "report").is_file()
