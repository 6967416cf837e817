"""Reads queries, keys and values where they enter the attention kernel, for modules of any library.

Whatever a module does before (norms, rotary embeddings, fused projections, grouped queries, joint streams), the
tensors handed to `scaled_dot_product_attention` are the ones that it uses. A `TorchFunctionMode` sees that call however
it was imported, on this thread and inside the context only; nothing is patched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from spectral_graph.features.attention import TENSORS
from spectral_graph.features.mha import projected


@dataclass(frozen=True)
class AttentionCall:
    """One call of the attention kernel.

    Attributes:
        values: for each tensor asked for, (B, tokens, heads * head_dim) float32, a copy: q is scaled so that the
            weights are softmax(q k^T / sqrt(head_dim)); k and v are repeated to the number of query heads.
        heads: number of query heads.
        dim: heads * head_dim of the queries.
        tokens: (queries, keys) before any were left out.
        masked: some pairs were masked or biased, so that the weights do not follow from q and k alone.
    """

    values: dict[str, Tensor]
    heads: int
    dim: int
    tokens: tuple[int, int]
    masked: bool


class KernelTap(TorchFunctionMode):
    """Context manager that copies q, k, v of every attention call inside chosen modules.

    Attributes:
        calls: module name -> its calls inside the context, in their order. A call counts for the innermost chosen
            module.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], tensors: Collection[str] = TENSORS, tokens: slice = slice(None)
    ) -> None:
        """Prepare the tap; no hook is set before the context is entered.

        Args:
            modules: by name.
            tensors: subset of {"q", "k", "v"}; with none of them, calls are counted and described only.
            tokens: which tokens to keep.
        """
        super().__init__()
        self.calls: dict[str, list[AttentionCall]] = {}
        self._modules = dict(modules)
        self._tensors = [name for name in TENSORS if name in tensors]
        self._tokens = tokens
        self._active: list[str] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> KernelTap:
        self.calls = {}
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_pre_hook(self._opens(name)))
            self._handles.append(module.register_forward_hook(self._closes(name), always_call=True))
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._active.clear()

    def _opens(self, name: str) -> Callable[..., None]:
        def open_(_module: nn.Module, _args: Any) -> None:
            self._active.append(name)

        return open_

    def _closes(self, name: str) -> Callable[..., None]:
        def close(_module: nn.Module, _args: Any, _output: Any) -> None:
            if self._active and self._active[-1] == name:
                self._active.pop()

        return close

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._active:
            if func is functional.scaled_dot_product_attention:
                self._note(*args, **kwargs)
            elif func is functional.multi_head_attention_forward:
                # Its inner call of the kernel is out of a function mode's sight.
                self._note(*projected(*args, **kwargs))
        return func(*args, **kwargs)

    def _note(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        heads, width = query.shape[-3], query.shape[-1]
        factor = 1.0 if scale is None else scale * width**0.5
        sources = {"q": query, "k": key, "v": value}
        # Outside inference mode, so that the caller may change the copies in place.
        with torch.inference_mode(False), torch.no_grad():
            values = {}
            for name in self._tensors:
                part = sources[name][..., self._tokens, :]
                part = part.repeat_interleave(heads // part.shape[-3], dim=-3)
                merged = part.transpose(-3, -2).flatten(-2)
                values[name] = merged.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
            if "q" in values and abs(factor - 1) > 1e-6:
                values["q"] *= factor
        masked = is_causal or _biases(attn_mask)
        call = AttentionCall(values, heads, heads * width, (query.shape[-2], key.shape[-2]), masked)
        self.calls.setdefault(self._active[-1], []).append(call)


def _biases(mask: Tensor | None) -> bool:
    """Tell whether a mask changes anything: False somewhere, or an added number that is not 0."""
    if mask is None:
        return False
    return not bool(mask.all()) if mask.dtype == torch.bool else bool(mask.any())
