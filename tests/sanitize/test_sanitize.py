"""The cases that run under the sanitizers hold here too, and the planted faults fit the sources: see make sanitize."""

from __future__ import annotations

import sys
from pathlib import Path

import cpu_faults
import operator_cases
import pytest
import sanitized_build

from spectral_graph import ops

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import sanitize


@pytest.mark.skipif(not ops.compiled(), reason="the operators are not compiled")
@pytest.mark.parametrize("name", operator_cases.CASES)
def test_the_cases_hold(name):
    operator_cases.CASES[name]()


@pytest.mark.parametrize("fault", cpu_faults.FAULTS, ids=lambda fault: fault.name)
def test_the_place_of_a_fault_exists_once(fault):
    assert (sanitized_build.CSRC / "cpu" / fault.file).read_text().count(fault.old) == 1
    assert fault.cases in operator_cases.CASES and fault.path in sanitized_build.PATHS


def test_without_a_compiler_the_check_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sanitize.main() == 1
    assert "cannot be built with sanitizers here: g++ is not installed" in capsys.readouterr().out


def test_every_operator_of_the_module_has_a_case():
    text = Path(operator_cases.__file__).read_text()
    assert [name for name in ops.library.FALLBACKS if f"ops.{name}(" not in text and f"ops.{name}," not in text] == []
