"""The backends of csr_spmm by name, whether each can be used here, and their CSR matrix."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

from spectral_graph.errors import ConfigError

Product = Callable[[Tensor], Tensor]
"""Takes x (m, C) of the matrix's dtype and device, contiguous, without gradient; returns A x (n, C), a new tensor."""


class Csr(NamedTuple):
    """A sparse matrix (n, columns) in compressed rows; its tensors are contiguous, on one device and without gradient.

    Attributes:
        indptr: (n + 1,) int64.
        indices: (nnz,) int32 in [0, columns), in any order; duplicates add up.
        values: (nnz,) float32 or float64.
        columns: number of columns.
    """

    indptr: Tensor
    indices: Tensor
    values: Tensor
    columns: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.indptr.shape[0] - 1


class Backend(Protocol):
    """The interface of a backend's module."""

    DEVICES: str
    """The devices of its tensors, as text for messages and tables."""

    def missing(self) -> str:
        """Return why it cannot be used here and how to fix that, or an empty text."""

    def prepare(self, matrix: Csr) -> Product:
        """Return the product with a valid matrix; conversions that are needed once happen here."""


_MODULES = {
    "native": "native",
    "torch": "torch_csr",
    "torch_sparse": "torch_sparse_csr",
    "cupy": "cupy_csr",
    "numba": "numba_csr",
    "scipy": "scipy_csr",
}
BACKENDS = tuple(_MODULES)


def find_backend(name: str) -> Backend:
    """Return the backend of this name, which may be one that cannot be used here.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in _MODULES:
        raise ConfigError(f'there is no backend "{name}" of csr_spmm; choose one of {", ".join(BACKENDS)}')
    backend: Backend = importlib.import_module(f"spectral_graph.ops.backends.{_MODULES[name]}")
    return backend


def usable_backend(name: str) -> Backend:
    """Return the backend of this name.

    Raises:
        ConfigError: there is none of this name, or it cannot be used here; the message says why and what to install.
    """
    backend = find_backend(name)
    if reason := backend.missing():
        raise ConfigError(f'the backend "{name}" of csr_spmm cannot be used: {reason}')
    return backend


def package_missing(package: str, install: str) -> str:
    """Return a message that a package is not installed and how to install it, or an empty text."""
    if importlib.util.find_spec(package) is None:
        return f"the package {package} is not installed; install it: {install}"
    return ""
