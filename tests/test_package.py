"""The package imports quickly, without heavy libraries, and offers its names."""

import subprocess
import sys

import pytest

import spectral_graph

HEAVY = ("torch", "timm", "diffusers", "faiss", "cupy", "matplotlib", "sklearn", "scipy", "zarr")


@pytest.mark.parametrize("name", spectral_graph.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(spectral_graph, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        spectral_graph.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, spectral_graph; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("module", ["ops", "bank", "graph.blocks", "solve.chebyshev"])
def test_lower_floors_do_not_import_upper_ones(module):
    upper = (
        "timm",
        "matplotlib",
        "sklearn",
        "spectral_graph.stages",
        "spectral_graph.report",
        "spectral_graph.features",
    )
    code = f"import sys, spectral_graph.{module}; print([m for m in {upper!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
