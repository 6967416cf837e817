"""The tools of `make cuda-check`: what they say without nvcc, and how they read ptxas."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import cuda_toolkit  # noqa: E402


def test_without_nvcc_the_check_says_how_to_get_it(tmp_path):
    if cuda_toolkit.packaged_nvcc().is_file():
        pytest.skip("nvcc is installed as a Python package")
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_HOME"} | {"PATH": str(tmp_path)}
    command = [sys.executable, str(TOOLS / "cuda_check.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f'pip install "{cuda_toolkit.REQUIREMENT}"' in done.stdout


@pytest.mark.parametrize(
    ("kernel", "registers", "stack", "spills", "text"),
    [
        ("spmm_segments<float, float, 2>", 64, 0, 0, ""),
        ("spmm_segments<float, float, 2>", 65, 0, 0, "more than 64 registers"),
        ("gram_sum", 20, 8, 0, "8 bytes of stack"),
        ("gram_sum", 20, 0, 4, "4 bytes spilled"),
        ("new_kernel", 20, 0, 0, "no register limit"),
    ],
)
def test_what_counts_as_a_fault_of_a_kernel(kernel, registers, stack, spills, text):
    complaint = cuda_toolkit.Usage(kernel, "80", registers, 0, stack, spills).complaint()
    assert text in complaint and bool(text) == bool(complaint)
