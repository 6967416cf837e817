"""Which backend csr_spmm uses: chosen for a thread or a task, with a context manager or for good."""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType

from spectral_graph.ops.backends.registry import usable_backend

_chosen: ContextVar[str] = ContextVar("spectral_graph_backend", default="native")


class use_backend:
    """Choose the backend of csr_spmm and of all that is built on it.

    As a plain call the choice holds from then on; as `with use_backend("scipy"):` until the block ends. It holds for
    the thread, or asyncio task, that makes it: a new thread begins with "native". A gradient is computed by the backend
    that computed the product. `rayleigh` and the other fused operators have no backends but their own.

    Args:
        name: native (the compiled operator), torch (sparse CSR tensors), torch_sparse, cupy (the CUDA kernels,
            compiled when they are first used), numba or scipy.

    Raises:
        ConfigError: there is no backend of this name, or it cannot be used here; the text says why and what to install.
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
    """Return the name of the backend that csr_spmm uses here and now."""
    return _chosen.get()
