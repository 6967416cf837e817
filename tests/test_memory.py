import sys

import pytest

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
