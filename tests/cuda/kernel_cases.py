"""All cases of all kernels, by family; `run` is an Emulator or what has its signature."""

from __future__ import annotations

import dense_cases
import matrix_cases
import product_cases
import row_cases
import topc_cases
from emulator import FAMILIES

MODULES = dict(zip(FAMILIES, (product_cases, matrix_cases, dense_cases, topc_cases, row_cases), strict=True))


def check_all(run, small: bool = False, families=FAMILIES) -> int:
    """Every kernel over its cases; `small`: fewer, for slow builds. Returns the number of cases."""
    cases = [case for family in families for case in MODULES[family].cases(run, small)]
    for case in cases:
        case()
    return len(cases)
