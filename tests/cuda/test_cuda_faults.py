"""The test of the tests: planted faults fit the kernels, two are noticed. `make cuda-check` tries them all."""

from __future__ import annotations

import emulator
import planted_faults
import pytest

KERNELS = emulator.CSRC / "cuda"


@pytest.mark.parametrize("fault", planted_faults.FAULTS + planted_faults.SECTOR_FAULTS, ids=lambda fault: fault.name)
def test_the_place_of_a_fault_exists_once(fault):
    assert (KERNELS / fault.file).read_text().count(fault.old) == 1
    assert fault.old != fault.new


@pytest.mark.skipif(bool(emulator.missing()), reason=emulator.missing() or "-")
def test_planted_faults_are_noticed(tmp_path, driver):
    for name in ("join leaves out a length", "lanes leave before a vote"):
        fault = next(fault for fault in planted_faults.FAULTS if fault.name == name)
        place = tmp_path / name.replace(" ", "_")
        place.mkdir()
        assert planted_faults.caught(fault, place, driver.parent)
