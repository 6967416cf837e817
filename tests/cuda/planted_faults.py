"""Faults for testing the tests: each is a change of one place in a kernel that a build of the emulation must catch."""

from __future__ import annotations

import shutil
from pathlib import Path

import emulator
import kernel_cases
import product_cases
from fault_list import FAULTS, SECTOR_FAULTS, Fault

__all__ = ["FAULTS", "SECTOR_FAULTS", "Fault", "caught", "family", "plant"]

FAMILIES = {
    "products": ("lanes.cuh", "segments.cuh", "widen.cuh", "csr_spmm.cuh", "chebyshev_step.cuh", "rayleigh.cuh"),
    "matrices": ("csr_check.cuh", "csr_entries.cuh", "csr_transpose.cuh", "csr_symmetrise.cuh", "csr_sddmm.cuh"),
    "dense": ("gram.cuh", "rotate.cuh", "adam_rows.cuh"),
    "topc": ("topc_select.cuh", "topc_merge.cuh", "topc_list.cuh", "pair_keys.cuh", "warp_sort.cuh"),
    "rows": ("unit_project.cuh", "row_dots.cuh", "cosine_topc.cuh", "cell_topc.cuh", "index_check.cuh"),
}
"""The family whose cases must notice a fault in a file."""


def family(fault: Fault) -> str:
    """Return the family of kernels that the fault is in."""
    return next(name for name, files in FAMILIES.items() if fault.file in files)


def plant(fault: Fault, folder: Path) -> Path:
    """Copy the kernels to `folder` with the fault in them; return the include folder."""
    shutil.copytree(emulator.CSRC / "cuda", folder / "cuda")
    source = folder / "cuda" / fault.file
    text = source.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.old)} places for the fault '{fault.name}', not 1")
    source.write_text(text.replace(fault.old, fault.new))
    return folder


def caught(fault: Fault, folder: Path, like: Path) -> str:
    """Return what noticed the fault; empty if nothing did. `like`: the folder of a sound build of its kind."""
    changed = (family(fault),)
    program = emulator.build(folder, fault.kind, plant(fault, folder), like, changed)
    for seed in (0, 1, 2):
        try:
            with emulator.Emulator(program, seed) as run:
                kernel_cases.check_all(run, fault.kind != "plain", changed)
                if changed == ("products",) and fault.kind == "plain" and product_cases.far_product(run) != [5.0, 21.0]:
                    return "the product with far columns is wrong"
        except (AssertionError, emulator.KernelError) as error:
            return str(error).splitlines()[0]
    return ""
