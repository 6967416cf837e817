"""Queries, keys and values of attention layers of any torch module."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS, AttentionTap
from spectral_graph.features.projections import attention_weights, from_projections, norm_names, projection_names

_SOFTMAX = (torch.softmax, Tensor.softmax, functional.softmax)


def hook_attention(
    module: nn.Module, layers: Sequence[str] | str | None = None, tensors: Collection[str] = TENSORS
) -> AttentionHooks:
    """Read q, k and v of a model's attention layers during the forward passes inside a `with` block.

        with hook_attention(model, "blocks.*.attn") as attention:
            model(images)
        attention.values["blocks.0.attn"]["q"]

    Args:
        module: any module whose attention runs through `scaled_dot_product_attention` or `nn.MultiheadAttention`, or
            is written out with projections of the usual names (to_q, q_proj, query, qkv, ...).
        layers: names of its submodules, or patterns with ``*``; by default all that attend.
        tensors: subset of {"q", "k", "v"}.

    Returns:
        A context manager with `values` and `heads` of the forward pass inside the block.

    Raises:
        ModelError: a name is no submodule; at the end of the block: a chosen layer has no q, k and v, its attention
            weights do not follow from them, or it attended more than once, whether by the kernel or written out.
    """
    return AttentionHooks(module, layers, tensors)


class AttentionHooks(AttentionTap):
    """What `hook_attention` returns.

    Attributes:
        values: layer -> tensor -> (B, tokens, heads * head_dim) float32, as used in the softmax (see `AttentionCall`).
        heads: layer -> number of query heads.
    """

    def __init__(
        self, module: nn.Module, layers: Sequence[str] | str | None = None, tensors: Collection[str] = TENSORS
    ) -> None:
        named = {name: part for name, part in module.named_modules() if name}
        # A module that is itself one attention layer has no submodule that attends.
        named = named if layers is not None else {"": module, **named}
        self._asked = [layers] if isinstance(layers, str) else layers
        chosen = dict(named) if self._asked is None else {}
        for pattern in self._asked or ():
            found = fnmatch.filter(named, pattern)
            if not found:
                raise ModelError(f"{type(module).__name__} has no submodule {pattern!r}; it has: {_some(list(named))}")
            chosen.update({name: named[name] for name in named if name in found})
        unknown = sorted(set(tensors) - set(TENSORS))
        if unknown:
            raise ModelError(f"tensors {', '.join(unknown)} do not exist; choose from q, k, v")
        super().__init__(chosen, tensors)
        self.values: dict[str, dict[str, Tensor]] = {}
        self.heads: dict[str, int] = {}
        self._seen: dict[str, dict[str, list[Tensor]]] = {}
        self._softmax: dict[str, list[Tensor]] = {}

    def __enter__(self) -> AttentionHooks:
        super().__enter__()
        self.values, self.heads = {}, {}
        for name, module in self._modules.items():
            for child in (*projection_names(module), *(norm_names(module) or ())):
                hook = self._keeps(name, child)
                self._keep(getattr(module, child).register_forward_hook(hook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        try:
            if kind is None:
                self._gather()
        finally:
            self._seen.clear()
            self._softmax.clear()

    def _keeps(self, layer: str, child: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._seen.setdefault(layer, {}).setdefault(child, []).append(output)

        return keep

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if func in _SOFTMAX:
            # The softmax may be a submodule of the one that holds the projections.
            owners = (name for name in reversed(self._active) if projection_names(self._modules[name]))
            owner = next(owners, None)
            if owner is not None:
                self._softmax.setdefault(owner, []).append(result)
        return result

    def _gather(self) -> None:
        for name in dict.fromkeys([*self.calls, *self._softmax]):
            calls, seen = self.calls.get(name, []), self._seen.get(name, {})
            weights = attention_weights(self._modules[name], seen, self._softmax.get(name, []))
            # A pass whose softmax is out of sight still shows in the projections.
            times = max(len(calls) + len(weights), *map(len, seen.values()), 0) if weights else len(calls)
            if times > 1:
                raise ModelError(
                    f"layer {name}, a {type(self._modules[name]).__name__}, attended {times} times inside the "
                    "block; make one forward pass a block, and name modules that attend once in it"
                )
            if calls:
                self.values[name], self.heads[name] = calls[0].values, calls[0].heads
                continue
            once = {child: outputs[-1] for child, outputs in seen.items()}
            softmax = (weights or self._softmax[name])[-1]
            values, self.heads[name] = from_projections(self._modules[name], name, once, softmax)
            self.values[name] = {key: values[key] for key in self._tensors}
        without = [] if self._asked is None else [name for name in self._modules if name not in self.values]
        if without or not self.values:
            what = [f"{name} ({type(self._modules[name]).__name__})" for name in without]
            raise ModelError(
                f"no queries, keys and values were found in {_some(what) if what else 'any submodule'}: nothing there "
                "called scaled_dot_product_attention, and there are no projections of the usual names (to_q, q_proj, "
                "query, qkv, ...) with a softmax behind them; name the modules that attend, or let them call "
                "torch.nn.functional.scaled_dot_product_attention"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
