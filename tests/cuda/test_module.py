"""The optional module _CUDA: why it is missing, or what it shows without a GPU."""

from __future__ import annotations

import importlib

import module_cases
import pytest

from spectral_graph.ops.cuda import OPERATORS, load_cuda


@pytest.fixture
def forget():
    load_cuda.cache_clear()
    yield
    load_cuda.cache_clear()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ModuleNotFoundError("no module"), "SPECTRAL_GRAPH_CUDA=1 CUDA_HOME="),
        (ImportError("libtorch_cuda.so: cannot open"), "cannot be loaded (libtorch_cuda.so: cannot open)"),
    ],
)
def test_the_reason_is_told_and_nothing_is_raised(monkeypatch, forget, error, text):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    assert text in load_cuda()


def test_the_module_checks_its_arguments():
    if reason := load_cuda():
        pytest.skip(reason)
    assert module_cases.check() >= len(OPERATORS)
