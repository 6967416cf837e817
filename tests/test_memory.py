import mmap
import sys

import pytest

import spectral_graph.memory as memory
from spectral_graph.memory import peak_bytes, reset_peak

MB = 1 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak can be reset on Linux only")
def test_freed_memory_of_earlier_work_does_not_count():
    reset_peak()
    before = peak_bytes()
    block = bytearray(200 * MB)
    during = peak_bytes()
    del block
    reset_peak()
    assert during - before > 150 * MB
    assert peak_bytes() < during - 100 * MB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is known on Linux only")
def test_left_bytes_exclude_the_memory_of_this_process():
    before = memory.left_bytes()
    # Straight from the system: an allocator may keep what it is given back, as other tests in this process make it.
    block = mmap.mmap(-1, 200 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for _ in range(200):
        block.write(b"x" * MB)
    assert 150 * MB < before - memory.left_bytes() < 250 * MB
    block.close()
    assert memory.left_bytes() > before - 50 * MB
    assert memory.left_bytes() < memory.limit_bytes()


@pytest.mark.parametrize(
    ("line", "folder", "file"), [("4:memory:/a/b", "memory/a", "limit_in_bytes"), ("0::/a/b", "a", "max")]
)
def test_smallest_limit_of_parent_groups_counts(tmp_path, monkeypatch, line, folder, file):
    (tmp_path / "groups").write_text(f"9:cpu:/x\n{line}\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_ROOT", tmp_path / "root")
    machine = memory.limit_bytes()
    assert machine > 1 << 28
    (tmp_path / "root" / folder / "b").mkdir(parents=True)
    (tmp_path / "root" / folder / "b" / f"memory.{file}").write_text("max\n")
    assert memory.limit_bytes() == machine
    (tmp_path / "root" / folder / f"memory.{file}").write_text("123456\n")
    assert memory.limit_bytes() == 123456
