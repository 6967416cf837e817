"""The test of the sanitizers: faults in the operators, each of which must be reported."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import sanitized_build


@dataclass(frozen=True)
class Fault:
    """`old`, which occurs once in csrc/cpu/<file>, becomes `new`; `cases`, run on `path`, must report `report`."""

    name: str
    file: str
    old: str
    new: str
    path: str
    cases: str
    report: str


FAULTS = (
    Fault(
        "vector that reaches past the rows",
        "adam_rows.cpp",
        "for (; c + 8 <= count; c += 8)",
        "for (; c + 7 <= count; c += 8)",
        "AVX2",
        "adam",
        "AddressSanitizer",
    ),
    Fault(
        "eight numbers where seven are left",
        "spmm/csr_sddmm.cpp",
        "k + kWidth <= count",
        "k + kWidth <= count + 1",
        "portable",
        "spmm",
        "heap-buffer-overflow",
    ),
    Fault(
        "shift by all bits",
        "affinity/topc_merge.cpp",
        "key = key << 32 | key >> 32",
        "key = key << 64 | key >> 32",
        "portable",
        "merge",
        "shift exponent 64 is too large",
    ),
    Fault(
        "element past the end of a vector",
        "affinity/topc_affinity.cpp",
        "if (group_ends || slivers[b + 1].image != slivers[b].image)",
        "if (slivers[b + 1].image != slivers[b].image || group_ends)",
        "AVX2",
        "affinity",
        "__n < this->size()",
    ),
)


def caught(fault: Fault, folder: Path) -> str:
    """Plant the fault in a copy of the sources in `folder`; return the report, or an empty text if nothing noticed."""
    csrc = folder / "csrc"
    shutil.copytree(sanitized_build.CSRC, csrc, ignore=shutil.ignore_patterns("cuda"))
    source = csrc / "cpu" / fault.file
    text = source.read_text()
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.file} has {text.count(fault.old)} places for the fault '{fault.name}', not 1")
    source.write_text(text.replace(fault.old, fault.new))
    try:
        sanitized_build.run_cases(sanitized_build.build(csrc), fault.path, fault.cases)
    except sanitized_build.SanitizerError as error:
        return str(error)
    return ""
