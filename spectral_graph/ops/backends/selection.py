"""The backend that csr_spmm uses, for a thread or a task, permanently or in a context manager."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType

from spectral_graph.ops.backends.registry import usable_backend

_chosen: ContextVar[str] = ContextVar("spectral_graph_backend", default="native")


class use_backend:
    """Select the backend of csr_spmm and of everything that calls it.

    A plain call selects it permanently, `with use_backend("scipy"):` until the block ends. The selection applies to the
    current thread or asyncio task; a new thread begins with "native". The backend of a product computes its gradient
    too. `rayleigh` and the other fused operators have only the native implementation.

    Args:
        name: native (the compiled operator), torch (sparse CSR tensors), torch_sparse, cupy (the CUDA kernels,
            compiled when they are first used), numba or scipy.

    Raises:
        ConfigError: there is no backend of this name, or it cannot be used here; the message says why.
    """

    def __init__(self, name: str) -> None:
        usable_backend(name)
        self._before = _chosen.get()
        _chosen.set(name)

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _chosen.set(self._before)


def current_backend() -> str:
    """Return the name of the selected backend."""
    return _chosen.get()
