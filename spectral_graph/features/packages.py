"""Packages that only some models need."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spectral_graph.errors import ModelError


def require(model: str, *packages: str) -> list[Any]:
    """Import packages that a model needs.

    Args:
        model: name of the model, for the message.
        *packages: their names, on PyPI and in Python alike.

    Raises:
        ModelError: one is missing or cannot be imported; the message says how to install it.
    """
    modules = []
    for package in packages:
        try:
            modules.append(importlib.import_module(package))
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == package
            reason = "which is not installed" if missing else f"which cannot be imported ({error})"
            raise ModelError(
                f"model {model} needs the package {package}, {reason}; run: pip install {' '.join(packages)}"
            ) from None
    return modules


@contextmanager
def silent(*libraries: Any) -> Iterator[None]:
    """Keep diffusers and transformers from writing warnings and progress bars while a model is read.

    Args:
        *libraries: the modules.
    """
    logs = [library.utils.logging for library in libraries]
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, (verbosity, bars) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
