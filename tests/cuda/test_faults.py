"""The planted faults fit the kernels; `make cuda-check` shows that each is noticed."""

from __future__ import annotations

import emulator
import planted_faults
import pytest

KERNELS = emulator.CSRC / "cuda"


@pytest.mark.parametrize("fault", planted_faults.FAULTS + planted_faults.SECTOR_FAULTS, ids=lambda fault: fault.name)
def test_the_place_of_a_fault_exists_once(fault):
    assert (KERNELS / fault.file).read_text().count(fault.old) == 1
    assert fault.old != fault.new


def test_every_file_with_kernels_has_a_fault():
    files = {path.name for path in KERNELS.glob("*.cuh")}
    assert files == {fault.file for fault in planted_faults.FAULTS}
    assert files == {file for part in planted_faults.FAMILIES.values() for file in part}
