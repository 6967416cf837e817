"""The operator library `spectral_graph`: schemas and the choice of the CPU implementation.

The compiled kernels register themselves when `spectral_graph._C` is imported. If they are missing, or the
environment variable SPECTRAL_GRAPH_OPS is "torch", pure-torch implementations serve the same schemas.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import torch

from spectral_graph.errors import ConfigError, GraphError
from spectral_graph.ops.cuda import load_cuda

NAMESPACE = "spectral_graph"
OUT_OF_MEMORY = "CUDA out of memory"
"""Prefix of torch's message; its stable ABI passes on the message, not the class (torch/csrc/stable/macros.h)."""
LIBRARY = torch.library.Library(NAMESPACE, "FRAGMENT")
FALLBACKS: dict[str, Callable[..., Any]] = {}
"""The pure-torch implementation of each operator, by name."""

_native: set[str] = set()
_reason = ""
_warned = False


class UncompiledWarning(UserWarning):
    """The operators run in pure torch, which is slow, because the compiled ones are missing."""


def define(schema: str) -> None:
    """Declare an operator, e.g. "gram(Tensor x, Tensor? y=None) -> Tensor"."""
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))


def fallback(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the pure-torch implementation of the operator `name`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        FALLBACKS[name] = function
        return function

    return register


def fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the shape inference of the operator `name`."""
    return torch.library.register_fake(f"{NAMESPACE}::{name}", lib=LIBRARY)


def autograd(name: str, backward: Callable[..., Any], setup_context: Callable[..., Any]) -> None:
    """Register the derivative of the operator `name`."""
    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=setup_context, lib=LIBRARY)


def call(operator: Callable[..., Any], *arguments: Any) -> Any:
    """Call an operator; its message about an invalid argument becomes a GraphError.

    Raises:
        GraphError: an argument does not fit; the message names operator, argument, expected and given value.
        torch.OutOfMemoryError: a GPU has no memory for the result or for scratch space.
    """
    if torch.compiler.is_compiling():
        return operator(*arguments)
    try:
        return operator(*arguments)
    except RuntimeError as error:
        text = str(error)
        if text.startswith(f"{NAMESPACE}::"):
            raise GraphError(text.partition("\n")[0]) from None  # torch appends a trace of its binding
        if text.startswith(OUT_OF_MEMORY):
            raise torch.OutOfMemoryError(text) from None
        raise


def compiled() -> bool:
    """Return whether every operator that has a compiled CPU kernel uses it."""
    return set(FALLBACKS) <= _native


def uncompiled_reason() -> str:
    """Return why the operators run in pure torch; an empty text if they are compiled."""
    if compiled():
        return ""
    return _reason or "SPECTRAL_GRAPH_OPS is set to torch"


def _warn_once() -> None:
    global _warned
    if _reason and not _warned:
        _warned = True
        warnings.warn(
            f"spectral_graph runs its operators in pure torch, which is slow: {_reason}. "
            "Compile them in the project's folder: pip install --no-build-isolation -e .",
            UncompiledWarning,
            stacklevel=6,
        )


def _announced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        _warn_once()
        return function(*arguments)

    return run


def load() -> None:
    """Import the compiled kernels; install a fallback for every operator that then has no CPU kernel.

    Raises:
        ConfigError: SPECTRAL_GRAPH_OPS has an unknown value.
    """
    global _reason
    choice = os.environ.get("SPECTRAL_GRAPH_OPS", "")
    if choice not in ("", "torch"):
        raise ConfigError(
            f'SPECTRAL_GRAPH_OPS is "{choice}"; set it to "torch" for the pure-torch operators or unset it'
        )
    if choice != "torch":
        _reason = "the compiled module is older than the package"
        try:
            importlib.import_module("spectral_graph._C")
        except ModuleNotFoundError:
            _reason = "spectral_graph._C was not compiled"
        except ImportError as error:
            _reason = f"spectral_graph._C cannot be loaded ({error})"
        load_cuda()
    for name, function in FALLBACKS.items():
        if torch._C._dispatch_has_kernel_for_dispatch_key(f"{NAMESPACE}::{name}", "CPU"):
            _native.add(name)
        else:
            LIBRARY.impl(name, _announced(function), "CPU")
