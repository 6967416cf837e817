"""Queries, keys and values of attention layers of any torch module.

Attention that is written out, without the fused kernel, shows q, k and v only as outputs of linear layers of known
names, and operations on their outputs are hidden. So its attention weights, which leave a softmax, are recomputed
from them and must agree.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS, AttentionTap

_SOFTMAX = (torch.softmax, Tensor.softmax, functional.softmax)
_PROJECTIONS = (
    ("to_q", "to_k", "to_v"),
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("wq", "wk", "wv"),
    ("qkv",),
    ("to_qkv",),
    ("qkv_proj",),
    ("in_proj",),
    ("c_attn",),
)
_NORMS = (("q_norm", "k_norm"), ("norm_q", "norm_k"), ("q_layernorm", "k_layernorm"))
_TOLERANCE = 1e-3


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
    """Context manager that `hook_attention` returns.

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
            chosen.update({name: named[name] for name in found})
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
            for child in (*_projection_names(module), *_norm_names(module)):
                self._keep(getattr(module, child).register_forward_hook(self._saves(name, child)))
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

    def _saves(self, layer: str, child: str) -> Callable[..., None]:
        def save(_module: nn.Module, _args: Any, output: Tensor) -> None:
            self._seen.setdefault(layer, {}).setdefault(child, []).append(output)

        return save

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if func in _SOFTMAX:
            # The softmax may be a submodule of the one that holds the projections.
            owners = (name for name in reversed(self._active) if _projection_names(self._modules[name]))
            owner = next(owners, None)
            if owner is not None:
                self._softmax.setdefault(owner, []).append(result)
        return result

    def _gather(self) -> None:
        for name in dict.fromkeys([*self.calls, *self._softmax]):
            module, calls, seen = self._modules[name], self.calls.get(name, []), self._seen.get(name, {})
            weights = _attention_weights(module, seen, self._softmax.get(name, []))
            # The projections also show a pass whose softmax is not seen.
            times = max(len(calls) + len(weights), *map(len, seen.values()), 0) if weights else len(calls)
            if times > 1:
                raise ModelError(
                    f"layer {name}, a {type(module).__name__}, attended {times} times inside the block; make one "
                    "forward pass a block, and name modules that attend once in it"
                )
            if calls:
                self.values[name], self.heads[name] = calls[0].values, calls[0].heads
                continue
            once = {child: outputs[-1] for child, outputs in seen.items()}
            values, self.heads[name] = _from_projections(module, name, once, (weights or self._softmax[name])[-1])
            self.values[name] = {key: values[key] for key in self._tensors}
        without = [] if self._asked is None else [name for name in self._modules if name not in self.values]
        if without or not self.values:
            layers = [f"{name} ({type(self._modules[name]).__name__})" for name in without]
            raise ModelError(
                f"no queries, keys and values were found in {_some(layers) if layers else 'any submodule'}: nothing "
                "there called scaled_dot_product_attention, and there are no projections of the usual names (to_q, "
                "q_proj, query, qkv, ...) with a softmax behind them; name the modules that attend, or let them call "
                "torch.nn.functional.scaled_dot_product_attention"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _projection_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the children of a module that make q, k and v: three, one for all, or none."""
    for names in _PROJECTIONS:
        if all(isinstance(getattr(module, name, None), nn.Linear) for name in names):
            return names
    return ()


def _norm_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the norms of q and k, if there are any."""
    for names in _NORMS:
        if all(isinstance(getattr(module, name, None), nn.Module) for name in names):
            return names
    return ()


def _attention_weights(
    module: nn.Module, seen: Mapping[str, Sequence[Tensor]], softmaxes: Sequence[Tensor]
) -> list[Tensor]:
    """Return those outputs of a module's softmaxes that have a row and a column for each token."""
    outputs = [output for name in _projection_names(module)[:1] for output in seen.get(name, [])]
    sizes = {(output.shape[-2],) * 2 for output in outputs if output.ndim > 1}
    return [softmax for softmax in softmaxes if softmax.ndim > 2 and tuple(softmax.shape[-2:]) in sizes]


def _from_projections(
    module: nn.Module, layer: str, seen: Mapping[str, Tensor], softmax: Tensor
) -> tuple[dict[str, Tensor], int]:
    """Return q, k, v (B, tokens, heads * head_dim) float32 and the number of heads of one forward pass.

    Args:
        module: the attention module.
        layer: its name, for messages.
        seen: outputs of the projections and norms by name.
        softmax: (B, heads, tokens, tokens), or (B * heads, tokens, tokens): the module's attention weights.

    Raises:
        ModelError: the attention weights do not follow from them.
    """
    names = _projection_names(module)
    missing = [name for name in names if name not in seen]
    if missing:
        raise _refusal(module, layer, f"{', '.join(missing)} did not run")
    flat: Any = (seen[name] for name in names) if len(names) > 1 else seen[names[0]].chunk(3, dim=-1)
    values = dict(zip(TENSORS, flat, strict=True))
    batch, tokens = values["q"].shape[0], values["q"].shape[-2]
    heads = softmax.shape[1] if softmax.ndim == 4 else softmax.shape[0] // batch
    for name, norm in zip(("q", "k"), _norm_names(module), strict=False):
        if norm in seen:
            value = seen[norm]  # (B, tokens, heads * head_dim), or split into heads
            if value.ndim > 3:
                value = (value.transpose(1, 2) if value.shape[2] == tokens else value).flatten(2)
            values[name] = value
    q, k = (values[name].to(torch.float32).unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k"))
    own = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    if own.numel() != softmax.numel() or not bool((own - softmax.reshape(own.shape)).abs().max() <= _TOLERANCE):
        raise _refusal(module, layer, "its attention weights are not softmax(q k^T / sqrt(d)) of them")
    with torch.inference_mode(False), torch.no_grad():
        return {name: value.to(torch.float32, copy=True) for name, value in values.items()}, heads


def _refusal(module: nn.Module, layer: str, reason: str) -> ModelError:
    return ModelError(
        f"layer {layer}, a {type(module).__name__}: it attends without scaled_dot_product_attention, and q, k and v "
        f"cannot be taken from its projections: {reason}; let it call "
        "torch.nn.functional.scaled_dot_product_attention, or leave it out"
    )
