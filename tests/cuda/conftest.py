"""The emulated kernels, compiled once for all tests."""

from __future__ import annotations

import emulator
import pytest


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    return emulator.build(tmp_path_factory.mktemp("emulation"))
