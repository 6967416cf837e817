"""`spectral-graph info --backends`: what it says is so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spectral_graph import ops
from spectral_graph.cli.commands import main
from spectral_graph.ops.backends import numba_csr
from spectral_graph.ops.describe import instruction_set

FUSED = """
import json, torch
from spectral_graph import ops
from spectral_graph.ops.describe import operator_facts
e = 2.0**-12
x, values = torch.tensor([[-1.0], [1 + e]]).repeat(1, 40), torch.tensor([1.0 + 2 * e, 1 + e])
y = ops.csr_spmm(torch.tensor([0, 2]), torch.tensor([0, 1], dtype=torch.int32), values, x)
print("AVX2" if bool((y == e * e).all()) else "portable")
print(json.dumps(operator_facts()))
"""
"""(1 + e)^2 = 1 + 2e + e^2 does not fit into a float32: a fused multiply-add keeps the e^2, separate ones lose it.
With few columns the second entry would go to a sum of its own."""


@pytest.mark.skipif(not ops.compiled(), reason="the operators are not compiled")
@pytest.mark.parametrize("capability", [None, "default"])
def test_the_instruction_set_is_the_one_in_use(capability):
    environment = {key: value for key, value in os.environ.items() if key != "ATEN_CPU_CAPABILITY"}
    if capability:
        environment["ATEN_CPU_CAPABILITY"] = capability
    done = subprocess.run(
        [sys.executable, "-c", FUSED],
        env=environment,
        cwd=Path(ops.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    used, text = done.stdout.splitlines()
    assert json.loads(text)["instruction_set"] == used
    assert used == "portable" or capability is None


def test_every_backend_is_listed_with_its_state(capsys, monkeypatch):
    monkeypatch.setattr(numba_csr, "missing", lambda: "the package numba is not installed; install it: pip")
    assert main(["info", "--backends", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["operators"]
    backends = {entry["backend"]: entry for entry in found["backends"]}
    assert list(backends) == list(ops.BACKENDS)
    assert not backends["numba"]["available"] and "install it: pip" in backends["numba"]["reason"]
    assert backends["scipy"] == {"backend": "scipy", "available": True, "devices": "CPU", "reason": None}
    assert found["threads"] == torch.get_num_threads() and instruction_set() in ("AVX2", "portable")
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert main(["info", "--backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for name in ops.BACKENDS:
        assert any(line.startswith(f"{name} ") for line in lines)


def test_info_needs_something_to_tell_about(capsys):
    with pytest.raises(SystemExit) as error:
        main(["info"])
    assert error.value.code == 2
    assert "info needs a RUN, or --backends" in capsys.readouterr().err
