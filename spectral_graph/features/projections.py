"""Queries, keys and values of attention that is written out in torch, without the fused kernel, from its projections.

Such a module shows q, k and v only as outputs of linear layers whose names must be known, and what it does to them
afterwards is hidden. So its attention weights, which leave a softmax, are recomputed from them and must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spectral_graph.errors import ModelError
from spectral_graph.features.attention import TENSORS

_SEPARATE = (
    ("to_q", "to_k", "to_v"),
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("wq", "wk", "wv"),
)
_FUSED = ("qkv", "to_qkv", "qkv_proj", "in_proj", "c_attn")
_NORMS = (("q_norm", "k_norm"), ("norm_q", "norm_k"), ("q_layernorm", "k_layernorm"))
_TOLERANCE = 1e-3


def projection_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the children of a module that make q, k and v: three, one for all, or none."""
    for names in _SEPARATE:
        if all(isinstance(getattr(module, name, None), nn.Linear) for name in names):
            return names
    for name in _FUSED:
        if isinstance(getattr(module, name, None), nn.Linear):
            return (name,)
    return ()


def norm_names(module: nn.Module) -> tuple[str, str] | None:
    """Return the names of the norms of q and k, if there are some."""
    for names in _NORMS:
        if all(isinstance(getattr(module, name, None), nn.Module) for name in names):
            return names
    return None


def attention_weights(
    module: nn.Module, seen: Mapping[str, Sequence[Tensor]], softmaxes: Sequence[Tensor]
) -> list[Tensor]:
    """Return those of a module's softmaxes that are over all tokens, for each token: its attention weights.

    Args:
        module: the attention module.
        seen: outputs of its projections by name.
        softmaxes: that ran inside it.
    """
    outputs = [output for name in projection_names(module)[:1] for output in seen.get(name, [])]
    sizes = {(output.shape[-2],) * 2 for output in outputs if output.ndim > 1}
    return [softmax for softmax in softmaxes if softmax.ndim > 2 and tuple(softmax.shape[-2:]) in sizes]


def from_projections(
    module: nn.Module, layer: str, seen: dict[str, Tensor], softmax: Tensor
) -> tuple[dict[str, Tensor], int]:
    """Return q, k, v and the number of heads of one forward pass.

    Args:
        module: the attention module.
        layer: its name, for messages.
        seen: outputs of the projections and norms by name.
        softmax: (B, heads, tokens, tokens), or (B * heads, tokens, tokens): the module's attention weights.

    Returns:
        (B, tokens, heads * head_dim) float32 for each of q, k, v; and the number of heads.

    Raises:
        ModelError: the attention weights do not follow from them.
    """
    names = projection_names(module)
    missing = [name for name in names if name not in seen]
    if not names or missing:
        raise ModelError(_refusal(module, layer, f"{', '.join(missing) or 'its projections'} did not run"))
    flat: Any = (seen[name] for name in names) if len(names) > 1 else seen[names[0]].chunk(3, dim=-1)
    values = dict(zip(TENSORS, flat, strict=True))
    batch, tokens = values["q"].shape[0], values["q"].shape[-2]
    heads = softmax.shape[1] if softmax.ndim == 4 else softmax.shape[0] // batch
    for name, norm in zip(("q", "k"), norm_names(module) or (), strict=False):
        if norm in seen:
            values[name] = _merged(seen[norm], tokens)
    q, k = (values[name].to(torch.float32).unflatten(-1, (heads, -1)).transpose(1, 2) for name in ("q", "k"))
    own = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
    if own.numel() != softmax.numel() or not bool((own - softmax.reshape(own.shape)).abs().max() <= _TOLERANCE):
        raise ModelError(_refusal(module, layer, "its attention weights are not softmax(q k^T / sqrt(d)) of them"))
    with torch.inference_mode(False), torch.no_grad():
        copies = {name: value.to(torch.float32, copy=True) for name, value in values.items()}
    return copies, heads


def _merged(value: Tensor, tokens: int) -> Tensor:
    """Return (B, tokens, heads * head_dim) of a norm's output in that form or split into heads."""
    if value.ndim == 3:
        return value
    return (value.transpose(1, 2) if value.shape[2] == tokens else value).flatten(2)


def _refusal(module: nn.Module, layer: str, reason: str) -> str:
    return (
        f"layer {layer}, a {type(module).__name__}: it attends without scaled_dot_product_attention, and q, k and v "
        f"cannot be taken from its projections: {reason}; let it call "
        "torch.nn.functional.scaled_dot_product_attention, or leave it out"
    )
