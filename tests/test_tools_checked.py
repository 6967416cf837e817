"""A recorded check holds for the sources that it ran on, and for no others."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import checked


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    for source in {name for sources in checked.SOURCES.values() for name in sources}:
        place = checked.ROOT / source
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.copytree(place, target, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(place, target)
    monkeypatch.setattr(checked, "ROOT", tmp_path)
    monkeypatch.setattr(checked, "RECORD", tmp_path / "tools" / "checked.json")
    return tmp_path


@pytest.mark.parametrize("check", checked.SOURCES)
def test_a_record_holds_for_its_sources_alone(copy, check):
    assert not checked.passed(check)
    checked.record(check)
    assert checked.passed(check)
    for source in checked.SOURCES[check]:
        path = copy / source
        if path.is_dir():
            path = sorted(p for p in path.rglob("*") if p.is_file())[-1]
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert not checked.passed(check), path
        path.write_bytes(before)
    (copy / "csrc" / "new.h").write_text("")
    assert not checked.passed(check)
    (copy / "csrc" / "new.h").unlink()
    assert checked.passed(check)


def test_the_two_records_do_not_disturb_each_other(copy):
    for check in checked.SOURCES:
        checked.record(check)
    assert all(map(checked.passed, checked.SOURCES))


def test_a_damaged_record_is_none(copy):
    checked.RECORD.write_text("{")
    assert not any(map(checked.passed, checked.SOURCES))


def test_the_command_tells_by_its_exit_status(copy):
    tool = checked.RECORD.parent / "checked.py"
    shutil.copy(Path(checked.__file__), tool)
    for what, code in (("passed", 1), ("record", 0), ("passed", 0)):
        done = subprocess.run(
            [sys.executable, str(tool), what, "sanitize"], capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
